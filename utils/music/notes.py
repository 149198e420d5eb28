"""Read the notes that a model plays, compare them with the score, and turn them into sound.

    score, take = parse("E E F G"), parse("E E ^F G2")
    accuracy(score, take)          # 0.5: two of four notes right
    listen("E E F G")              # a player in the notebook

The notation is ABC with a quarter note as its unit: "C" is middle C, "c" an octave higher, "C," an octave lower; "^"
sharp, "_" flat; "z" a rest; "2" is two beats, "/2" half a beat. A melody has one voice. Only numpy is needed.
"""

from __future__ import annotations

import io
import re
import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from IPython.display import Audio

RATE = 11025  # samples a second: the highest note here is 784 Hz, and its fifth partial still fits
TEMPO = 192.0  # quarter notes a minute
LONGEST = 16  # beats: a longer note is a slip of the pen, and would be a minute of sound
SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
NOTE = re.compile(r"(?P<sign>\^|_|=)?(?P<letter>[A-Ga-gz])(?P<octave>,*|'*)(?P<times>[0-9]{0,3})(?P<over>/[0-9]{0,3})?")
# An electric piano, roughly: (multiple of the note's frequency, loudness, decay per second). High partials die first.
PARTIALS = ((1, 1.0, 1.6), (2, 0.45, 2.6), (3, 0.2, 4.0), (4, 0.12, 6.0), (5, 0.05, 9.0))


@dataclass(frozen=True)
class Note:
    """One token of a melody. start, beats: in quarter notes from the beginning. pitch: MIDI number, 60 is middle C.

    A rest has no pitch. A token that is no note has neither pitch nor beats: it takes no time and makes no sound.
    """

    token: str
    start: float
    beats: float
    pitch: int | None

    @property
    def readable(self) -> bool:
        return self.beats > 0

    @property
    def name(self) -> str:
        """As it is spelled in the score, with its octave: "B♭4", or "rest" or "no note" where it has no pitch."""
        if self.pitch is None:
            return "rest" if self.readable else "no note"
        sign, letter = NOTE.fullmatch(self.token)["sign"], NOTE.fullmatch(self.token)["letter"].upper()
        shift = {"^": 1, "_": -1}.get(sign, 0)
        return f"{letter}{ {1: '♯', -1: '♭'}.get(shift, '') }{(self.pitch - shift) // 12 - 1}"

    def same(self, other: Note) -> bool:
        """Whether both sound the same, pitch and length. When they start is left open: one slip shifts the rest."""
        return self.readable and other.readable and (self.pitch, self.beats) == (other.pitch, other.beats)


def parse(text: str) -> list[Note]:
    """The notes of a melody in order, one for each word. A word that is no note is kept as one that is not readable."""
    notes, now = [], 0.0
    for token in text.split():
        beats, pitch = _read(token)
        notes.append(Note(token, now, beats, pitch))
        now += beats
    return notes


def _read(token: str) -> tuple[float, int | None]:
    """(beats, MIDI pitch or None). Beats are 0 where the token is no note."""
    found = NOTE.fullmatch(token)
    if found is None:
        return 0.0, None
    over = int(found["over"][1:] or 2) if found["over"] else 1  # "C/" is short for "C/2"
    beats = int(found["times"] or 1) / over if over else 0.0
    if not 0 < beats <= LONGEST:
        return 0.0, None
    letter, octave = found["letter"], found["octave"]
    if letter == "z":
        return (0.0, None) if found["sign"] or octave else (beats, None)
    pitch = 60 + SEMITONES[letter.upper()] + 12 * letter.islower() + 12 * (octave.count("'") - octave.count(","))
    pitch += {"^": 1, "_": -1}.get(found["sign"], 0)
    return (beats, pitch) if 0 <= pitch <= 127 else (0.0, None)


def piece_name(prompt: str) -> str:
    """ "Ode to Joy" from "Play Ode to Joy, part 1."; a prompt of another form is its own name."""
    found = re.fullmatch(r"Play (?:the )?(.+), (?:part|take) \d+\.", prompt)
    return found[1] if found else prompt


# --- Compare what was played with the score ------------------------------------------------------------------------
def align(score: Sequence[Note], played: Sequence[Note]) -> list[tuple[Note | None, Note | None]]:
    """Pairs (note of the score, note played) with as few differences as possible: the edit distance, note by note.

    (note, None): left out. (None, note): played besides. A pair of two notes is right only if they are the ``same``.
    Where several alignments are as good, the one that matches early is taken.
    """
    rows, columns = len(score), len(played)
    cost = np.zeros(
        (rows + 1, columns + 1), dtype=int
    )  # [i, j]: differences from note i of the score, j of the take, on
    cost[:, columns], cost[rows, :] = range(rows, -1, -1), range(columns, -1, -1)
    for i in reversed(range(rows)):
        for j in reversed(range(columns)):
            swap = cost[i + 1, j + 1] + (not score[i].same(played[j]))
            cost[i, j] = min(swap, cost[i + 1, j] + 1, cost[i, j + 1] + 1)
    pairs: list[tuple[Note | None, Note | None]] = []
    i = j = 0
    while i < rows or j < columns:
        if i < rows and j < columns and cost[i, j] == cost[i + 1, j + 1] + (not score[i].same(played[j])):
            pairs.append((score[i], played[j]))
            i, j = i + 1, j + 1
        elif i < rows and cost[i, j] == cost[i + 1, j] + 1:
            pairs.append((score[i], None))
            i += 1
        else:
            pairs.append((None, played[j]))
            j += 1
    return pairs


def is_right(pair: tuple[Note | None, Note | None]) -> bool:
    return pair[0] is not None and pair[1] is not None and pair[0].same(pair[1])


def accuracy(score: Sequence[Note], played: Sequence[Note]) -> float:
    """Note accuracy, 0 to 1: notes right, out of all notes in the alignment. Rests count as notes.

    A note played besides costs as much as one left out, so playing on and on does not pay.
    """
    pairs = align(score, played)
    return sum(map(is_right, pairs)) / len(pairs) if pairs else 1.0


def accuracy_curve(scores: Sequence[str], takes: Mapping[int, Sequence[str]]) -> dict[int, list[float]]:
    """step -> note accuracy of each piece, 0 to 1. takes: step -> what was played of each piece, in ABC."""
    return {
        step: [accuracy(parse(score), parse(take)) for score, take in zip(scores, played, strict=True)]
        for step, played in takes.items()
    }


def sentence(score: Sequence[Note], played: Sequence[Note]) -> str:
    """What an ear would notice, in words: "13 of 15 notes right, 1 wrong, 1 left out"."""
    pairs = align(score, played)
    counts = {
        "wrong": sum(None not in pair and not is_right(pair) for pair in pairs),
        "left out": sum(pair[1] is None for pair in pairs),
        "too many": sum(pair[0] is None for pair in pairs),
    }
    slips = [f"{count} {what}" for what, count in counts.items() if count]
    return ", ".join([f"{sum(map(is_right, pairs))} of {len(score)} notes right", *slips])


# --- Sound -----------------------------------------------------------------------------------------------------------
def synthesise(notes: Sequence[Note], tempo: float = TEMPO, rate: int = RATE) -> np.ndarray:
    """Mono sound, [samples] of float in -1 to 1, ``rate`` a second: plucked notes that decay, with a fifth of a second
    to die away after the last. Raises ValueError for a tempo or a rate that is not positive."""
    if not tempo > 0 or not rate > 0:
        raise ValueError(f"tempo is {tempo} and rate is {rate}; both must be more than 0.")
    beat, tail = 60 / tempo, 0.2
    length = max((note.start + note.beats for note in notes), default=0.0) * beat + tail
    sound = np.zeros(round(length * rate))
    for note in notes:
        if note.pitch is None:
            continue
        first = round(note.start * beat * rate)
        tone = _tone(440 * 2 ** ((note.pitch - 69) / 12), note.beats * beat, rate)[: len(sound) - first]
        sound[first : first + len(tone)] += tone
    peak = np.abs(sound).max(initial=0.0)
    return 0.9 * sound / peak if peak else sound


def _tone(frequency: float, seconds: float, rate: int) -> np.ndarray:
    """One plucked note: a quick attack, partials that decay, and a soft release once the key is let go."""
    release = 0.08
    time = np.arange(round((seconds + release) * rate)) / rate
    wave_form = sum(
        loudness * np.exp(-decay * time) * np.sin(2 * np.pi * frequency * multiple * time)
        for multiple, loudness, decay in PARTIALS
        if frequency * multiple < 0.45 * rate or multiple == 1
    )
    attack = np.minimum(time / 0.006, 1)
    held = np.clip((seconds + release - time) / (1.5 * release), 0, 1)  # begins a little before the next note
    return wave_form * attack * held


def to_wav(sound: np.ndarray, rate: int = RATE) -> bytes:
    """A WAV file: mono, 8 bits a sample, which is half of what a notebook would have to carry for 16."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(1)
        writer.setframerate(rate)
        writer.writeframes((128 + np.round(127 * np.clip(sound, -1, 1))).astype(np.uint8).tobytes())
    return file.getvalue()


def listen(melody: str) -> Audio:
    """A player for a melody in ABC."""
    return Audio(data=to_wav(synthesise(parse(melody))))


class Takes:
    """One piece played several times: a table with a player for each take, and in words what was right.

    takes: label -> what was played, in ABC. In a terminal it prints as text.
    """

    def __init__(self, score: str, takes: Mapping[str, str]) -> None:
        self.score, self.takes = score, dict(takes)

    def __repr__(self) -> str:
        notes = parse(self.score)
        return "\n".join(f"{name}: {sentence(notes, parse(take))}. {take}" for name, take in self.takes.items())

    def _repr_html_(self) -> str:
        notes = parse(self.score)
        rows = ""
        for name, take in self.takes.items():
            label, words = escape(name), escape(sentence(notes, parse(take)))
            player = listen(take)._repr_html_().replace("<audio ", f'<audio aria-label="{label}" ', 1)
            rows += f"<tr><td><b>{label}</b></td><td>{player}</td><td>{words}<br><code>{escape(take)}</code></td></tr>"
        return f"<table><tr><th>played</th><th>listen</th><th>what it played</th></tr>{rows}</table>"
