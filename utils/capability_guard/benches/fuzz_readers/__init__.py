"""Damaged files and answers for every reader: each must be read, or refused in one sentence. By hand, some minutes a reader.

    python -m utils.capability_guard.benches.fuzz_readers                            # each, ten minutes of the processor
    python -m utils.capability_guard.benches.fuzz_readers --minutes 1 probes policy  # two of them

What is damaged is real: files that the harnesses wrote (tests/capability_guard), and what the guard writes itself. A change puts
something odd in a value's place, takes it out, doubles it or nests it; or it damages the bytes. A file that reached lines which none
before it had reached is kept and changed further, as AFL does it (M. Zalewski, 2013): so the search goes where reading goes.

Prints a line a reader: how many files, how many were read and refused, how many lines were reached; and, with the file, each that
made a crash, took more than 20 seconds of the processor or was refused in more than one line.
"""
