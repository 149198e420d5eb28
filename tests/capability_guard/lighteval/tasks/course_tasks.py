"""Two tasks for lighteval: choices with two metrics, and answers that are generated with a whole and a fractional one."""

from lighteval.metrics.metrics import Metrics
from lighteval.metrics.normalizations import LogProbCharNorm
from lighteval.tasks.lighteval_task import LightevalTaskConfig
from lighteval.tasks.requests import Doc


def choice(line, task_name=None):
    return Doc(
        task_name=task_name,
        query=line["question"],
        choices=[f" {c}" for c in line["choices"]],
        gold_index=line["label"],
    )


def answer(line, task_name=None):
    return Doc(task_name=task_name, query=line["question"], choices=[f" {line['answer']}"], gold_index=0)


def task(name, folder, prompt, metrics, **more):
    return LightevalTaskConfig(
        name=name,
        prompt_function=prompt,
        hf_repo=f"questions/{folder}",
        hf_subset="default",
        hf_avail_splits=["test"],
        evaluation_splits=["test"],
        metrics=metrics,
        version=1,
        **more,
    )


TASKS_TABLE = [
    task(
        "course:capitals",
        "capitals",
        choice,
        [
            Metrics.loglikelihood_acc,
            Metrics.loglikelihood_acc(sample_params={"logprob_normalization": LogProbCharNorm()}),
        ],
    ),
    task(
        "course:sums", "sums", answer, [Metrics.exact_match, Metrics.f1_score], generation_size=4, stop_sequence=["\n"]
    ),
]
