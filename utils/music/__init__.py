"""Melodies: as the text that the model reads, as notes, as sound, and as pictures."""

from utils.music.figures import piano_roll, plot_accuracy
from utils.music.notes import Takes, accuracy, accuracy_curve, listen, parse, piece_name

__all__ = ["Takes", "accuracy", "accuracy_curve", "listen", "parse", "piano_roll", "piece_name", "plot_accuracy"]
