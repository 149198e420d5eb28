"""The quiz of the course: instant answers, each with its why.

``questions`` and ``objectives`` are data, checked as they are read; ``progress`` keeps your answers on your machine;
``widgets`` is what you see and click.
"""

from utils.quiz.widgets import quiz, score

__all__ = ["quiz", "score"]
