"""Four small tasks for the practice model: exact match, choices, a share, and several epochs."""

from inspect_ai import Epochs, Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import Score, f1, match, mean, scorer, stderr
from inspect_ai.solver import generate

CAPITALS = {
    "France": "Paris.",
    "Italy": "Rome.",
    "Germany": "Berlin.",
    "Austria": "Vienna.",
    "Denmark": "Copenhagen.",
    "Norway": "Oslo.",
    "Finland": "Helsinki.",
    "Poland": "Warsaw.",
}


def capitals():
    return [Sample(f"What is the capital of {land}?", target=town, id=land) for land, town in CAPITALS.items()]


def sums():
    return [
        Sample(f"What is {a}+{b}?", target=f"{a + b}.") for a, b in ((14, 1), (18, 1), (1, 29), (2, 2), (2, 31), (9, 4))
    ]


@scorer(metrics=[mean(), stderr()])
def length():
    """How much of the answer's length is right: a number from 0 to 1 of one's own."""

    async def score(state, target):
        said = state.output.completion.strip().split("\n")[0]
        return Score(value=min(len(said), len(target.text)) / max(len(said), len(target.text), 1), answer=said)

    return score


@task
def course_capitals():
    return Task(
        capitals(),
        solver=generate(max_tokens=6, top_k=1),
        scorer=[match(location="begin", ignore_case=False), f1(), length()],
    )


@task
def course_sums():
    return Task(
        sums(),
        solver=generate(max_tokens=4, temperature=1.5),
        scorer=match(location="begin", ignore_case=False),
        epochs=Epochs(2, "mean"),
    )
