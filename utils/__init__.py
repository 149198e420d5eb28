"""The course's helpers, one room a folder. Each room's ``__init__`` says what it is for and exports what others may use.

    capability_guard   the guard: a package of its own, which knows nothing of the course
    training           from settings to a measured run: configs, fine-tuning, results, sweeps
    figures            draw it, print it, say it in words
    playground         the sliders that retrain a model
    quiz, music        the quiz; melodies as notes and sound
    claims             each claim of the course as an experiment: stated, run, decided, shown
    course             what makes it a course: first cell, environment, Colab; and what maintains it

Imports run one way: guard <- training <- figures <- playground, claims <- lessons. tests/test_rooms.py holds the walls.
"""
