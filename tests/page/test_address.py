"""Settings as they are pasted into the page: what it cannot do, it says in one sentence. In node, without a model."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from utils.page import __file__ as page

ADDRESS = (Path(page).parent / "address.mjs").as_uri()
DEFAULTS = {
    "model": "practice", "method": "lora", "learning_rate": 0.0015, "rank": 8, "scaling": "fixed", "lora_alpha": 16,
    "lora_dropout": 0, "target_modules": "all-linear", "steps": 40, "batch_size": 8, "replay": 0, "examples": 0, "seed": 0,
    "evaluate_every": 4, "strength": 1, "remedy": "", "remedy_weight": None,
}  # fmt: skip
SCRIPT = """
const { Address } = await import(process.argv[1]);
const [defaults, texts] = JSON.parse(process.argv[2]);
const address = new Address(defaults);
const said = (text) => { try { return address.format(address.parse(text)); } catch (error) { return error.message; } };
console.log(JSON.stringify(texts.map(said)));
"""
HELD = "and this page trains without remedies; leave it out, or run these settings in the course's notebooks."
SAYS = {
    "default": "default",
    "rank=1; remedy=": "rank=1",
    "remedy=dora": f'remedy is "dora", {HELD}',
    "learning_rate=0.013;remedy=kl;remedy_weight=0.3": f'remedy is "kl", {HELD}',
    "remedy_weight=0.3": f"remedy_weight is 0.3, {HELD}",
    "remedy_weight=much": 'remedy_weight is "much"; it must be a number.',
    "remedies=kl": f'"remedies=kl" is not a setting; write name=value with one of {", ".join(DEFAULTS)}, dropout.',
}


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node here")
def test_a_remedy_is_answered_with_one_sentence():
    command = ["node", "--input-type=module", "--eval", SCRIPT, ADDRESS, json.dumps([DEFAULTS, list(SAYS)])]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert dict(zip(SAYS, json.loads(answer.stdout), strict=True)) == SAYS
