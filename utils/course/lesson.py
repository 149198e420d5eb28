"""What every lesson's first cell needs: quiet libraries, one look for all figures, and a line on what is running."""

from __future__ import annotations

import os
import platform
import re
import warnings
from importlib.metadata import version

from utils.course import colab


def start() -> None:
    """Prepare a lesson, and say on one line what it runs on."""
    colab.prepare()
    from capability_guard.threads import wait_briefly

    wait_briefly()  # before torch: threads that spin while they wait ruin a machine that is shared
    import datasets  # only now: on Colab, some of these have just been installed
    import matplotlib.pyplot as plt
    import torch
    from transformers.utils import logging as hf_logging

    from utils.figures.words import show_figures_in_words
    from utils.training.machine import share_the_machine

    # Deprecations inside the libraries, and progress bars that last a blink: noise between a learner and a result.
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module="torch")
    hf_logging.disable_progress_bar()
    datasets.disable_progress_bars()
    hf_logging.set_verbosity_error()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    plt.rcParams.update(
        {
            "figure.dpi": 115,  # sharp on a projector, and still a light file
            "savefig.facecolor": "white",  # a dark page must not shine through between the axes
            "font.size": 11,
            "axes.labelsize": 11,
            "legend.fontsize": 10,
            "font.family": "DejaVu Sans",  # ships with matplotlib, so a page looks the same everywhere
        }
    )
    show_figures_in_words()
    share_the_machine()
    threads = torch.get_num_threads()
    cpu = f"{threads} CPU thread{'s' if threads > 1 else ''}"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else cpu
    libraries = ", ".join(f"{name} {version(name).split('+')[0]}" for name in ("torch", "transformers", "trl", "peft"))
    print(f"Ready: Python {platform.python_version()}, {libraries}, on {device}.")


def missing_ideas(text: str, ideas: dict[str, str]) -> str:
    """Which ideas a written answer lacks, in one sentence; "" when it has them all.

    ideas: a name for each, with the words that show it, as a regular expression. It looks for words, not for sense.
    """
    lacking = [name for name, words in ideas.items() if not re.search(words, text, re.IGNORECASE)]
    return f"Not found yet: {', '.join(lacking)}." if lacking else ""


def refusal(action) -> str:
    """What a library says to a call that it refuses: the kind of error and its first line.

    Raises AssertionError when the call goes through after all: then the lesson is out of date, and must say so.
    """
    from utils.figures.words import first_line

    try:
        action()
    except Exception as error:
        said = re.sub(r" \((?:/|[A-Za-z]:\\)[^)]*\)", "", first_line(error))  # a path of this one machine
        return f"{type(error).__name__}: {said}"
    raise AssertionError("This call used to be refused and now works; the lesson needs an update.")
