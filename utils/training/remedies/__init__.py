"""Remedies against forgetting: one idea each, all behind one small interface, chosen by a name in ``FineTuneConfig``.

    finetune(preset("reckless").with_(remedy="kl", remedy_weight=0.3))

A remedy acts at one or two moments of a run: on the rows that are trained on, on how peft's adapter is made, on the loss of a
batch, or on the weights after the last step. One of your own is a function and a name:

    def loss(batch, weight):
        return batch.loss + weight * batch.logits.square().mean()

    register(Remedy("quiet", "small logits", weight=0.01, loss=loss))

Reading order: ``remedy`` (the interface), ``batch`` and ``training`` (what the functions are given), then any of the others.
Nothing here knows the configs, the trainer or the figures.
"""

from utils.training.remedies.average_of_two import AVERAGE_OF_TWO
from utils.training.remedies.batch import Batch
from utils.training.remedies.dft import DFT
from utils.training.remedies.dora import DORA
from utils.training.remedies.graded import GRADED
from utils.training.remedies.kl import KL
from utils.training.remedies.kl_off_target import KL_OFF_TARGET
from utils.training.remedies.mask_surprising import MASK_SURPRISING
from utils.training.remedies.no_intruders import NO_INTRUDERS
from utils.training.remedies.own_replay import OWN_REPLAY
from utils.training.remedies.pissa import PISSA
from utils.training.remedies.placement import ATTENTION_ONLY, MLP_ONLY
from utils.training.remedies.remedy import Remedy
from utils.training.remedies.small_product import SMALL_PRODUCT
from utils.training.remedies.stem_replay import STEM_REPLAY
from utils.training.remedies.training import Training

__all__ = ["REMEDIES", "SHIPPED", "Batch", "Remedy", "Training", "register"]

SHIPPED = (KL, KL_OFF_TARGET, SMALL_PRODUCT, DFT, MASK_SURPRISING, OWN_REPLAY, STEM_REPLAY, ATTENTION_ONLY, MLP_ONLY, DORA, PISSA,
           GRADED, NO_INTRUDERS, AVERAGE_OF_TWO)  # fmt: skip
REMEDIES: dict[str, Remedy] = {remedy.name: remedy for remedy in SHIPPED}


def register(remedy: Remedy) -> Remedy:
    """Make a remedy known by its name, from here on and in each process that a sweep starts; a later one replaces it.

    Raises ValueError for the name of one that the course ships.
    """
    if remedy.name in {shipped.name for shipped in SHIPPED} and remedy not in SHIPPED:
        raise ValueError(f"{remedy.name!r} is a remedy of the course already; choose another name for yours.")
    REMEDIES[remedy.name] = remedy
    return remedy
