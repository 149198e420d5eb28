"""The logs without their transcripts, which are most of a log and of no use to a test."""

import sys
from pathlib import Path

from inspect_ai.log import read_eval_log, write_eval_log

source, out, form = sys.argv[1:]
for file in sorted(Path(source).glob("*.eval")):
    log = read_eval_log(str(file))
    for sample in log.samples:
        sample.events = []
        if hasattr(sample, "timelines"):
            sample.timelines = None
    Path(out).mkdir(parents=True, exist_ok=True)
    write_eval_log(log, str(Path(out) / (file.stem + "." + form)), format=form)
