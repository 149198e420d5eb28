"""Sliders that retrain a model while you watch: ``playground()`` in the last line of a cell.

``session`` and ``runs`` are what a playground knows, ``live`` and ``background`` how it trains, ``figure`` and ``words`` what it
shows, ``controls`` its widgets, ``views`` keeps them in step with the session, and ``moves`` is what each of them does.
"""

from utils.playground.moves import Playground, playground

__all__ = ["Playground", "playground"]
