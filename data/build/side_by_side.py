"""The guard beside FineTuneCheck and Pyrecall, on the same adapters and questions: ``python data/build/side_by_side.py``.

Three LoRA adapters of the practice model (careful, middle, reckless) are judged by each tool, once with all 339 probes of the
repertoire and once with 30 of them, five of each capability. Each run is a process of its own with an empty home, so no baseline is
kept from the run before: base and adapter are both asked. FineTuneCheck and Pyrecall are installed by name, each into an environment
of its own, with the library versions that it asks for. Thresholds are each tool's own. How each is asked stands at its function.

Both generate more tokens by default than the practice model has positions for (128). So all three tools get a copy of it whose table
of positions is longer; every answer to a probe is within the first 128, and stays what it was.

Writes data/claims/side-by-side.json and side-by-side.md after each run, and runs what is missing there; ``--again pyrecall`` measures
a tool anew. A quarter of an hour on two idle cores, and most of it is Pyrecall's.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from importlib.metadata import version
from itertools import product
from pathlib import Path

# The parent imports no torch: a child's peak memory would begin with the parent's own.
DATA = Path(__file__).resolve().parent.parent
REPOSITORY = DATA.parent
FILE = DATA / "claims" / "side-by-side.json"
GUARD, FINETUNECHECK, PYRECALL = "capability-guard", "finetunecheck", "pyrecall"
RIVALS = {FINETUNECHECK: "finetunecheck[inference]==2.0.2", PYRECALL: "pyrecall==0.12.1"}
LIBRARIES = ("torch", "transformers", "peft")
ADAPTERS = ("careful", "middle", "reckless")
MIDDLE_RATE = 5e-3
SIZES = (339, 30)
POSITIONS = 1024
BASE = "practice-gpt2"  # a relative name: Pyrecall picks LoRA's layers by what it finds in the name, folders above included
OUTCOME = "outcome.json"
ABOUT = """\
| tool | how it was asked | blocks when |
|---|---|---|
| capability-guard | its command `compare` | exit code 1 or 2: more than 5 points lost, or not enough probes to rule that out |
| finetunecheck 2.0.2 | from Python: its command takes no questions of one's own. By exact match; given a target task, \
and no weight for safety, without which it never passes | its `--exit-code`: POOR, HARMFUL, INSUFFICIENT_EVIDENCE |
| pyrecall 0.12.1 | from Python: its command tests the adapter that it trained itself. It asks 90 questions of its own besides, \
and answers all in full | a capability's mean likelihood of the right answer falls by more than 0.10 |

The base is a copy of the practice model with 1,024 positions in place of 128: the other two let it write up to 512 and 200 tokens, \
and on the model as it ships FineTuneCheck refuses in a sentence and Pyrecall ends with an IndexError. \
Each run starts cold: imports, base and adapter are in its seconds. One thread each, on a machine that others used too: \
compare the seconds of processor. All three ran on the same torch 2.13 (linked in with `--torch-from`), FineTuneCheck on \
transformers 4.57 and the other two on 5.24. Of the guard's reasons the first sentence is shown.
"""


def train() -> None:
    """Into the current folder: the base, the adapters, the probes, the new task, and what each adapter truly lost."""
    from capability_guard.probes import save_probes
    from utils.training.finetuning import default_probes, finetune
    from utils.training.models import load_model
    from utils.training.presets import preset

    longer_copy(load_model("practice", quiet=True)[0])
    probes = [probe for probe in default_probes("practice") if probe.measure != "loss"]
    chosen = {len(probes): probes, 30: first_of_each(probes, 30)}
    for size, some in chosen.items():
        save_probes(some, f"probes-{size}.jsonl")
    base, truth = load_model(BASE, quiet=True), {}
    rates = {"middle": preset("careful").with_(learning_rate=MIDDLE_RATE)}
    for name in ADAPTERS:
        config = rates.get(name) or preset(name)
        result = finetune(config, base=base, probes=probes, live=8, questions=(), kl=False, keep_model=True)
        result.model.save_pretrained(name)
        outcome = {probe.prompt: sides for probe, *sides in zip(probes, result.before, result.after, strict=True)}
        lost = {}
        for size, some in chosen.items():
            lost[size] = 100 * sum(a - b for a, b in (outcome[p.prompt] for p in some)) / size
        truth[name] = {"learning rate": config.learning_rate, "points lost": {n: round(x, 1) for n, x in lost.items()}}
    write_outcome(truth)


def longer_copy(model) -> None:
    """The same model with ``POSITIONS`` positions; those that it was never trained on repeat the last one."""
    from transformers import GPT2LMHeadModel

    model.config.n_positions = POSITIONS
    weights = model.state_dict()
    table = weights["transformer.wpe.weight"]
    weights["transformer.wpe.weight"] = table[[min(i, len(table) - 1) for i in range(POSITIONS)]]
    longer = GPT2LMHeadModel(model.config)
    longer.load_state_dict(weights)
    longer.save_pretrained(BASE)
    # FineTuneCheck takes transformers 4. That does not know the class of tokenizer that transformers 5 saves, so it goes as files.
    shipped = DATA / "practice-gpt2"
    settings = json.loads((shipped / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings["model_max_length"] = POSITIONS
    Path(BASE, "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    shutil.copy(shipped / "tokenizer.json", BASE)


def first_of_each(probes: list, size: int) -> list:
    """``size`` probes, the first ones of each capability, as many of each."""
    capabilities = dict.fromkeys(probe.capability for probe in probes)
    each = size // len(capabilities)
    return [p for name in capabilities for p in [probe for probe in probes if probe.capability == name][:each]]


def ask_guard(adapter: str, size: int) -> list[str]:
    """The command, as README has it. Its defaults: 5 points, together, alpha 0.05."""
    options = ["--model", BASE, "--adapter", adapter, "--probes", f"probes-{size}.jsonl", "--json", OUTCOME]
    return [sys.executable, "-m", "capability_guard", "compare", *options]


def ask_finetunecheck(adapter: str, size: int) -> None:
    """Custom probes in Python, as its README has it (its command takes none): a probe set a capability, judged by exact match.

    Two things are set that its defaults leave open, because without them its verdict is INSUFFICIENT_EVIDENCE or POOR, whatever the
    adapter: a target task (the agent's side of the 24 held-out dialogues, by token F1), and a weight of 0 for safety, which nothing
    here measures. It would take the first 100 probes of a set; it is told to take all.
    """
    from finetunecheck.config import EvalConfig
    from finetunecheck.eval.runner import EvalRunner
    from finetunecheck.probes.custom import CustomProbe
    from finetunecheck.probes.registry import ProbeRegistry

    asked: dict[str, list[dict]] = {}
    for row in rows(f"probes-{size}.jsonl"):
        asked.setdefault(row["capability"], []).append({"input": row["prompt"], "reference": row["answer"]})
    for name, samples in asked.items():
        ProbeRegistry.register(CustomProbe.from_samples(name, samples, judge_type="exact_match", category=name))
    turns = [row["text"].partition(" Agent: ") for row in rows(DATA / "customer_service" / "held_out.jsonl")]
    target = [{"input": f"{customer} Agent:", "reference": agent} for customer, _, agent in turns]
    ProbeRegistry.register(CustomProbe.from_samples("customer service", target, judge_type="f1"))
    config = EvalConfig(
        base_model=BASE,
        finetuned_model=adapter,
        target_tasks=["customer service"],
        general_probes=list(asked),
        num_samples=size,
        verdict_weights={"safety": 0.0},
    )
    found = EvalRunner(config).run()
    words = f"{found.verdict.value}; forgetting {found.forgetting.pattern.value}"
    stops = {"POOR", "HARMFUL", "INSUFFICIENT_EVIDENCE"}  # what its --exit-code fails on
    scores = {
        n: [side[n].mean_score or 0.0 for side in (found.base_scores, found.ft_scores)] for n in found.base_scores
    }
    write_outcome({
        "verdict": words, "blocks": found.verdict.value in stops, "concerns": found.concerns, "roi": found.roi_score,
        "scores before and after": {name: [round(x, 3) for x in pair] for name, pair in scores.items()},
    })  # fmt: skip


def ask_pyrecall(adapter: str, size: int) -> None:
    """Custom benchmarks in Python, with its defaults: log-likelihood, a drop of 0.10 in a category, the standard mode.

    It tests what it trained itself: a given adapter gets in as a snapshot to which the model is rolled back. Then ``diff`` compares
    the scores before and after. Its own 90 questions are asked in any case. It puts no space between question and answer, so the
    answers begin with one.
    """
    from peft import PeftModel
    from pyrecall import Model, RollbackManager, SkillSnapshot
    from transformers import AutoModelForCausalLM

    lines = [
        {"prompt": row["prompt"], "reference_answer": f" {row['answer']}", "category": row["capability"]}
        for row in rows(f"probes-{size}.jsonl")
    ]
    Path("repertoire.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    model = Model(BASE)
    model.custom_benchmarks.add("repertoire.jsonl")
    model.snapshot("before")
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(BASE), adapter)
    RollbackManager(BASE).save(SkillSnapshot(name="tuned", model_name=BASE), tuned)
    model.rollback(to="tuned")
    model.snapshot("after")
    found = model.diff("before", "after")
    words = found.to_markdown().splitlines()[0].lstrip("#✅❌ ")
    ours = {line["category"] for line in lines}
    write_outcome({
        "verdict": ": ".join([words, *filter(None, [", ".join(found.degraded_skills)])]), "blocks": not found.is_healthy,
        "scores before and after": {
            c.category: [round(c.score_before, 3), round(c.score_after, 3)] for c in found.comparisons if c.category in ours},
        "questions of its own": len({(p.category, p.prompt) for p in found.prompt_comparisons}) - len(lines),
    })  # fmt: skip


def rows(path: str | Path) -> list[dict]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def write_outcome(outcome: dict) -> None:
    versions = {name: version(name) for name in LIBRARIES}
    Path(OUTCOME).write_text(json.dumps({**outcome, "versions": versions}), encoding="utf-8")


def environment(name: str, folder: Path, torch_from: Path | None) -> Path:
    """The Python of an environment with that rival, made where there is none. torch_from: a site-packages folder whose torch is linked
    in: hundreds of megabytes less."""
    home, done = folder / name, folder / name / "installed"
    python = home / "bin" / "python"
    if not done.exists():
        print(f"Installing {RIVALS[name]} ...", flush=True)
        venv.create(home, with_pip=True)
        if torch_from:
            packages = next(home.glob("lib/python*/site-packages"))
            for part in [*torch_from.glob("torch"), *torch_from.glob("torch-*"), *torch_from.glob("torchgen")]:
                if not (packages / part.name).exists():
                    (packages / part.name).symlink_to(part.resolve())
        subprocess.run([python, "-m", "pip", "install", "--quiet", RIVALS[name]], check=True)
        done.touch()
    return python


def measured(command: list, work: Path, **more: str) -> dict:
    """Run to its end: the outcome that it wrote, the exit code, wall clock, processor time and peak memory of that process."""
    (work / OUTCOME).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="home-") as home, (work / "log.txt").open("w", encoding="utf-8") as log:
        settings = {
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "TQDM_DISABLE": "1",
            "HOME": home,
            **more,
        }
        began = time.perf_counter()
        running = subprocess.Popen(list(map(str, command)), cwd=work, env=settings, stdout=log, stderr=log)
        _, status, used = os.wait4(running.pid, 0)
        seconds = time.perf_counter() - began
        running.returncode = os.waitstatus_to_exitcode(status)
    said = (work / "log.txt").read_text(encoding="utf-8")
    outcome = json.loads((work / OUTCOME).read_text(encoding="utf-8")) if (work / OUTCOME).exists() else None
    return {
        "exit code": running.returncode, "seconds": round(seconds, 1), "processor seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak memory MB": round(used.ru_maxrss / 1e3), "outcome": outcome, "last words": said.strip().splitlines()[-1:],
    }  # fmt: skip


def trained(work: Path) -> dict:
    """What each adapter truly lost; they are trained where they are not there yet."""
    truth = work / "truth.json"
    if not truth.exists():
        print("Training three adapters ...", flush=True)
        run = measured([sys.executable, Path(__file__).resolve(), "--step", "train"], work, PYTHONPATH=source_path())
        if run["outcome"] is None:
            sys.exit(f"The training failed: {' '.join(run['last words'])}")
        truth.write_text(json.dumps({name: run["outcome"][name] for name in ADAPTERS}), encoding="utf-8")
    return json.loads(truth.read_text(encoding="utf-8"))


def row_of(tool: str, python: Path | None, adapter: str, size: int, work: Path) -> dict:
    """One tool, one adapter, one set of probes."""
    if tool == GUARD:
        command, more = ask_guard(adapter, size), {"PYTHONPATH": source_path()}
    else:
        command, more = [python, Path(__file__).resolve(), "--step", tool, adapter, size], {"PYTHONPATH": ""}
    found = measured(command, work, **more)
    outcome, words = found.pop("outcome"), found.pop("last words")
    row = {"tool": tool, "adapter": adapter, "probes": size, **found}
    if outcome is None:
        return {**row, "verdict": f"failed: {' '.join(words)}", "blocks": True}
    if tool == GUARD:
        return {**row, "verdict": f"{outcome['verdict']}: {outcome['why']}", "blocks": found["exit code"] != 0}
    return {**row, **outcome}


def source_path() -> str:
    return os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "utils" / "capability_guard" / "src")])


def as_table(found: dict) -> str:
    """The rows as Markdown, those of one adapter and one set of probes together, and what to know of them."""
    lines = [
        "# The guard beside FineTuneCheck and Pyrecall",
        "",
        "Three LoRA adapters of the practice model, and what each tool says of them: `data/build/side_by_side.py`.",
        "",
        "| probes | adapter | points lost | tool | verdict, in its own words | blocks | seconds | of processor | peak MB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        lost = found["truth"][row["adapter"]]["points lost"][str(row["probes"])]
        lines.append(
            f"| {row['probes']} | {row['adapter']} | {lost:.1f} | {row['tool']} | {row['verdict'].split('. ')[0]} | "
            f"{'yes' if row['blocks'] else 'no'} | {row['seconds']:.0f} | {row['processor seconds']:.0f} | {row['peak memory MB']} |"
        )
    return "\n".join([*lines, "", ABOUT])


def main(asked: argparse.Namespace) -> None:
    found = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {"rows": []}
    with tempfile.TemporaryDirectory(prefix="side-by-side-") as scratch:
        work, folder = asked.work or Path(scratch) / "work", asked.environments or Path(scratch)
        work.mkdir(exist_ok=True)
        pythons = {name: environment(name, folder, asked.torch_from) for name in RIVALS}
        found["truth"] = trained(work)
        known = {place(row): row for row in found["rows"] if row["tool"] not in (asked.again or [])}
        for tool, size, adapter in product([GUARD, *RIVALS], SIZES, ADAPTERS):
            row = {"tool": tool, "adapter": adapter, "probes": size}
            if place(row) in known:
                continue
            row = known[place(row)] = row_of(tool, pythons.get(tool), adapter, size, work)
            found["rows"] = [known[key] for key in sorted(known)]
            FILE.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            FILE.with_suffix(".md").write_text(as_table(found), encoding="utf-8")
            print(*(row[k] for k in ("tool", "adapter", "probes", "verdict", "seconds")), sep=" | ", flush=True)


def place(row: dict) -> tuple[int, int, int]:
    return SIZES.index(row["probes"]), ADAPTERS.index(row["adapter"]), [GUARD, *RIVALS].index(row["tool"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--environments", type=Path, metavar="FOLDER", help="where the rivals are (default: a temporary one)"
    )
    parser.add_argument(
        "--torch-from", type=Path, metavar="FOLDER", help="a site-packages folder whose torch they share"
    )
    parser.add_argument(
        "--work", type=Path, metavar="FOLDER", help="where the adapters are kept (default: a temporary one)"
    )
    parser.add_argument("--again", nargs="+", choices=[GUARD, *RIVALS], help="measure these tools anew")
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step == ["train"]:
        train()
    elif given.step:
        {FINETUNECHECK: ask_finetunecheck, PYRECALL: ask_pyrecall}[given.step[0]](given.step[1], int(given.step[2]))
    else:
        main(given)
