"""What is commonly said, and what the literature says, for each claim. Cite the paper, not this page."""

from __future__ import annotations

from dataclasses import dataclass

_PAPERS = {
    "biderman": ("Biderman et al. 2024", "https://arxiv.org/abs/2405.09673"),
    "scaling": ("Kalajdzievski 2024", "https://arxiv.org/abs/2401.05605"),
    "luo": ("Luo et al. 2023", "https://arxiv.org/abs/2308.08747"),
    "ramasesh": ("Ramasesh et al. 2022", "https://openreview.net/forum?id=GhVS8_yPeEa"),
    "rslora": ("Kalajdzievski 2023", "https://arxiv.org/abs/2312.03732"),
    "regret": ("Schulman et al. 2025", "https://thinkingmachines.ai/blog/lora/"),
    "razor": ("Shenfeld et al. 2025", "https://arxiv.org/abs/2509.04259"),
    "lin": ("Lin et al. 2025", "https://arxiv.org/abs/2509.20758"),
    "spurious": ("Zheng et al. 2025", "https://arxiv.org/abs/2501.13453"),
    "ibrahim": ("Ibrahim et al. 2024", "https://arxiv.org/abs/2403.08763"),
    "wise": ("Wortsman et al. 2021", "https://arxiv.org/abs/2109.01903"),
    "averaging": ("Lin et al. 2023", "https://arxiv.org/abs/2309.06256"),
    "lwf": ("Li and Hoiem 2016", "https://arxiv.org/abs/1606.09282"),
    "asft": ("Zhu et al. 2025", "https://arxiv.org/abs/2509.23753"),
    "ssr": ("Huang et al. 2024", "https://arxiv.org/abs/2403.01244"),
    "projections": ("Zhu et al. 2025 on multimodal models", "https://arxiv.org/abs/2510.08564"),
    "peft": (
        "PEFT's method comparison",
        "https://github.com/huggingface/peft/tree/main/method_comparison/MetaMathQA",
    ),
}
PAPERS = {name: f'<a href="{address}">{label}</a>' for name, (label, address) in _PAPERS.items()}


@dataclass(frozen=True)
class Sources:
    """said: the common advice, in our words. literature: what papers found, as HTML with links."""

    said: str
    literature: str


def _sources(said: str, literature: str) -> Sources:
    return Sources(said, literature.format(**PAPERS))


SOURCES = {
    "forgetting": _sources(
        "The new task's loss falls while the original domain stays flat or gets worse: that is capability regression.",
        "Supported, with a limit. With LoRA, {scaling} found forgetting to grow in a straight line with what was learned. "
        "{biderman} saw it after training on code and on maths problems, and none after training on mathematical web text.",
    ),
    "rate": _sources(
        "Lower the learning rate, and less is forgotten.",
        "Supported. {lin} found that a small rate largely mitigates the drop at a comparable score on the new task; they found "
        "nothing that removes it. A lower rate learns more slowly.",
    ),
    "rank": _sources(
        "Take a smaller LoRA rank, and less is forgotten.",
        "Confounded. LoRA's scale is alpha / r, so at a fixed alpha a smaller rank takes larger steps. {rslora} shows that "
        "this scale slows learning at high rank; by {regret}, it makes the best rate nearly the same for every rank. {scaling} "
        "found that to train fewer parameters does not avoid forgetting.",
    ),
    "replay": _sources(
        "Mix examples of the original domain into the training data.",
        "The strongest support of all remedies. For continued pretraining, {ibrahim} report that replay, with the rate warmed "
        "up again, comes to the same as training on everything anew. (We read this paper in a summary.)",
    ),
    "capacity": _sources(
        "It is worst for a large model on a small data set: more capacity to memorise, and to forget.",
        "Contested. {luo} saw more forgetting from 1 to 7 billion parameters, perhaps since the larger models had more to "
        "lose. {ramasesh} saw less with scale. Steps, rounds and the number of examples are seldom told apart.",
    ),
    "full": _sources(
        "Full fine-tuning forgets more than LoRA.",
        "It depends on what is held equal. With both rates swept, LoRA forgot less in {biderman}. It also learned less, and both "
        "methods seem to lie on one curve. In {peft}, at customary rates, full fine-tuning forgot less. By {regret}, LoRA's best "
        "rate is about ten times that of full fine-tuning.",
    ),
    "threshold": _sources(
        "In most cases, a learning rate above about 1e-4 brings regression even with LoRA.",
        "We know of no paper that finds a threshold. In {scaling}, forgetting grows smoothly with the steps and with the number "
        "of trained parameters. That a rate means little without scale, modules and model is our own view. Two small models cannot "
        "speak for 'most cases': what is tested here is whether the line holds for them.",
    ),
    "during": _sources(
        "Check the original domain during training, not after it.",
        "Supported as good practice. {scaling} adds a warning: stopping early does not avoid forgetting.",
    ),
    "kl": _sources(
        "Nothing: this claim is not in common advice.",
        "{razor} found that the KL divergence between base and tuned model, measured on the new task, predicts forgetting, and "
        "that the size of the weight change does not. The bars set here are ours, not theirs: a rank correlation above 0.8, better "
        "than what was learned predicts it, and no difference at equal KL. The interval of the correlation is for these "
        "settings alone.",
    ),
    "recovery": _sources(
        "Nothing: this claim is not in common advice.",
        "{spurious} report that much of the damage falls into some 150 first steps, and that a few examples recover it: so what "
        "seems forgotten may be out of reach only. (We read this paper in a summary.) Our runs have 40 steps in all, of which we "
        "look at the first quarter: that is another test.",
    ),
    "fader": _sources(
        "Routine for LoRAs that draw pictures, and known as task arithmetic; seldom advised for language models.",
        "{wise} average the weights of a fine-tuned model with those it started from, and gain robustness at little cost. {averaging} "
        "find the same averaging among the best of many remedies for what alignment makes a model forget.",
    ),
    "no_old_data": _sources(
        "Without the original data, little can be done.",
        "{lwf} distil the old model on the new task's own inputs, and {asft} add such a KL term to another "
        "loss. Other remedies have papers of their own; few were compared at equal learning.",
    ),
    "own_replay": _sources(
        "Replay needs the data that the model was first trained on.",
        "{ssr} let the model write its own rehearsal texts from examples, refine and choose them, and report that they do "
        "nearly as well as real ones. Ours are sampled plainly.",
    ),
    "placement": _sources(
        "Put LoRA on the attention: that is where it began.",
        "In {peft}, an adapter on the MLP alone forgot less than one on the attention. {projections} find two safe choices: the "
        "attention projections, or the MLP's gate and up with down frozen.",
    ),
    "pairs": _sources(
        "Remedies are named one at a time.",
        "We know of no comparison of replay with and without averaging at equal learning.",
    ),
}
