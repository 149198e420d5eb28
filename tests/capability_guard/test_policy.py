"""A policy file: read, refused in one sentence, and what it makes of the gate's verdict."""

import json

import numpy as np
import pytest

from capability_guard.cli import main
from capability_guard.gate.allowed import Budget
from capability_guard.gate.policy import SCHEMA, read_policy, rules_of_policy
from capability_guard.gate.rule import PASSED, REGRESSED, UNSURE, judge
from capability_guard.gate.schema import fault
from capability_guard.jsonl import DataError
from capability_guard.measurement import Measurement, MeasurementError, Row
from capability_guard.probes import Probe, save_probes
from capability_guard.statistics import least_share, most_lost

WHOLE_POLICY = """
version = 1
max_drop = 5
max_relative_drop = 20
relative_floor = 2
max_loss_rise = 0.1
min_baseline = 10
alpha = 0.05
certify = "together"
precision = ["float32", "bfloat16"]
repeat_check = false
default_tier = "watch"

[tiers.critical]
capabilities = ["sums", "capitals"]
max_drop = 4

[tiers.watch]
decides = false

[capabilities.sums]
max_drop = 3
certify = "each"
"""


def measured(model: str = "m", asked: int = 100, noise=None, precision: str = "float32", **known: int) -> Measurement:
    """Of each capability, so many of ``asked`` are right: the first ones."""
    rows = [Row(f"{name} {i}?", "yes", name, right=i < right, loss=0.1 if i < right else 2.0)
            for name, right in known.items() for i in range(asked)]  # fmt: skip
    return Measurement(model, rows, noise=noise, asked={"precision": precision})


def line(decision, name: str):
    return next(row for row in decision.comparisons if row.name == name)


# --- The file ---------------------------------------------------------------------------------------------------
def test_a_whole_policy(tmp_path):
    (tmp_path / "guard.toml").write_text(WHOLE_POLICY)
    rules = read_policy(tmp_path / "guard.toml")
    assert rules["critical"] == ("sums", "capitals") and rules["informational"] == ()
    sums, capitals, others = (rules["budgets"][name] for name in ("sums", "capitals", "*"))
    assert (sums.max_drop, capitals.max_drop, others.max_drop) == (3, 4, 5), "own table, tier, top"
    assert (sums.alone, capitals.alone, others.alone) == (True, True, None)
    assert sums.max_relative_drop == 20 and sums.relative_floor == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("version = 1\nmax_dorp = 3", "there is no key 'max_dorp'; did you mean 'max_drop'?"),
        ("version = 1\n[tiers.a]\ncapabilites = []", "no key 'capabilites' in [tiers.a]; did you mean 'capabilities'?"),
        ("version = 1\n[capabilities.sums]\nmin_basline = 3", "in [capabilities.sums]; did you mean 'min_baseline'?"),
        ("version = 1\nzzz = 3", "there is no key 'zzz'; the keys are version, probes, alpha"),
        ("max_drop = 3", "version is missing; write `version = 1`."),
        ("version = 2", "version is 2; this version of the guard reads 1 alone."),
        ("version = 1\nmax_drop = 0", "max_drop is 0; give a number above 0 and below 100."),
        ("version = 1\nmax_drop = true", "max_drop is True; give a number."),
        ('version = 1\ncertify = "all"', "certify is 'all'; give 'together' or 'each'."),
        ("version = 1\nprecision = []", "precision is empty"),
        ('version = 1\nprecision = ["int3"]', "one of precision is 'int3'; give 'float32' or"),
        ("version = 1\nversion = 1", "is not TOML"),
        ("max_drop = = 3", "is not TOML"),
        ('version = 1\ndefault_tier = "watch"', "default_tier is 'watch'; the tiers are none."),
        ('version = 1\n[tiers.a]\ncapabilities = ["x"]\n[tiers.b]\ncapabilities = ["x"]', "'x' is in the tiers 'a' and 'b'"),
        ('version = 1\ndefault_tier = "a"\n[tiers.a]\ndecides = false', "no tier decides, so nothing would"),
        ('version = 1\nprobes = "gone.jsonl"', "gone.jsonl cannot be read"),
    ],
)  # fmt: skip
def test_a_fault_is_one_sentence(tmp_path, capsys, text, says):
    (tmp_path / "guard.toml").write_text(text)
    with pytest.raises(DataError, match="guard.toml|gone.jsonl") as refused:
        read_policy(tmp_path / "guard.toml")
    assert says in str(refused.value) and "\n" not in str(refused.value)
    assert main(["gate", "a.json", "b.json", "--policy", str(tmp_path / "guard.toml")]) == 2
    assert says in " ".join(capsys.readouterr().out.split())


def test_our_reading_of_the_schema_is_that_of_jsonschema():
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    strict = jsonschema.Draft202012Validator(schema)
    values = [
        1,
        0,
        -1,
        2,
        1.5,
        100,
        99.9,
        True,
        "",
        "each",
        "float32",
        [],
        ["float32"],
        ["x", 3],
        {},
        {"x": {}},
        {"x": 3},
    ]
    tables = [{"version": 1, key: value} for key in (*schema["properties"], "other") for value in values]
    for group in ("tiers", "capabilities"):
        inner = schema["properties"][group]["additionalProperties"]["properties"]
        tables += [{"version": 1, group: {"x": {key: value}}} for key in (*inner, "other") for value in values]
    tables += [{}, [], {"version": 1.0}, {"version": True}]
    wrong = [table for table in tables if (fault(table, schema) == "") != strict.is_valid(table)]
    assert wrong == []
    assert 50 < sum(strict.is_valid(table) for table in tables) < len(tables) - 50, "both kinds were tried"


# --- What it makes of a verdict -----------------------------------------------------------------------------------
def test_a_budget_of_its_own_is_certified_by_itself():
    before, after = measured(sums=99, capitals=99), measured(sums=97, capitals=99)
    assert judge(before, after).word == PASSED
    own = judge(before, after, budgets={"sums": Budget(max_drop=3, alone=True)})
    assert own.word == UNSURE and "Open: sums." in own.why
    assert (line(own, "sums").budget, line(own, "capitals").budget) == (3, 5)
    assert judge(before, after, budgets={"sums": Budget(max_drop=3, alone=False)}).word == PASSED, "certified together"
    worse = judge(before, measured(sums=93, capitals=99), budgets={"sums": Budget(max_drop=3, alone=True)})
    assert worse.word == REGRESSED and "Worse by more than is allowed: sums." in worse.why


def test_tiers_decide_or_are_shown():
    rules = rules_of_policy(
        {
            "version": 1,
            "default_tier": "watch",
            "tiers": {"hard": {"capabilities": ["sums"]}, "watch": {"decides": False}},
        },
        "p",
    )
    before, after = measured(sums=99, style=99), measured(sums=99, style=20)
    decision = judge(before, after, **rules)
    assert decision.word == PASSED and not line(decision, "style").critical
    with pytest.raises(MeasurementError, match="'sums' is not measured"):
        judge(measured(style=99), measured(style=99), **rules)


def test_a_relative_budget_is_less_at_a_low_baseline_and_never_below_its_floor():
    before = measured(asked=400, low=40, high=400)
    decision = judge(before, before, max_drop=5, max_relative_drop=10, certify="each")
    assert line(decision, "low").budget == 1.0 and line(decision, "high").budget == 5
    assert line(decision, "low").word == PASSED and line(decision, "low").high < 1, "none of 400 was lost"
    after = measured(asked=400, low=31, high=400)  # 2.3 points: within 5, and nearly a quarter of what it knew
    assert judge(before, after, max_drop=5, certify="each").word == PASSED
    lost = line(judge(before, after, max_drop=5, max_relative_drop=10, certify="each"), "low")
    assert lost.word == REGRESSED and "1 are allowed" in lost.why
    wide = line(judge(before, after, max_drop=5, max_relative_drop=10, relative_floor=4.5), "low")
    assert wide.budget == 4.5 and wide.word != REGRESSED


@pytest.mark.training
def test_a_relative_budget_passes_by_mistake_one_time_in_twenty_at_most():
    """30 of 100 are known. Just a tenth of these is lost, which is not within the budget; or nothing is."""
    random, n, budget = np.random.default_rng(0), 300, Budget(max_drop=50, max_relative_drop=10)

    def passes(lost: int, kept: int, gained: int) -> bool:
        allowed, high = budget.points(
            100 * (lost - gained) / n, 0.05,
            known=lambda level: 100 * least_share(lost + kept, n, level),
            high=lambda level: 100 * most_lost(n, lost, gained, level),
        )  # fmt: skip
        return high <= allowed

    draws = [random.multinomial(n, [0.04, 0.26, 0.01, 0.69])[:3] for _ in range(150)]
    assert sum(passes(*map(int, draw)) for draw in draws) <= 11, "a twentieth of 150 is 7.5"
    assert all(passes(0, int(right), 0) for right in random.binomial(n, 0.3, size=50))


def test_the_least_baseline():
    before, after = measured(sums=60, capitals=99), measured(sums=60, capitals=99)
    assert judge(before, after).word == PASSED
    decision = judge(before, after, min_baseline=70)
    assert (
        decision.word == UNSURE
        and "Open: sums. The baseline has 60.0 % right, and the policy asks for at least 70" in decision.why
    )
    worse = judge(before, measured(sums=30, capitals=99), min_baseline=70)
    assert worse.word == REGRESSED, "a loss that is certain is no less certain for that"
    assert judge(before, after, budgets={"capitals": Budget(min_baseline=70)}).word == PASSED


def test_how_it_must_have_been_measured():
    before, half = measured(sums=99), measured("tuned", sums=99, precision="bfloat16")
    assert judge(before, half, precision=["float32", "bfloat16"]).word == PASSED
    with pytest.raises(
        MeasurementError, match="The candidate was measured in bfloat16, and the policy allows float32; measure"
    ):
        judge(before, half, precision=["float32"])
    with pytest.raises(MeasurementError, match="The baseline was measured without --repeat-check"):
        judge(before, half, repeat_check=True)
    again = measured(sums=99, noise={"sums": 0})
    assert judge(again, again, repeat_check=True).word == PASSED


# --- The command ------------------------------------------------------------------------------------------------
@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    probes = [Probe(f"What is {i}+1?", f"{i + 1}.", "sums") for i in range(100)]
    save_probes(probes, "my_probes.jsonl")
    for name, right in (("base", 100), ("tuned", 98)):
        Measurement.of(probes, [i < right for i in range(100)], model=name, asked={"precision": "float32"}).save(
            f"{name}.json"
        )
    return tmp_path


def gate(policy: str, *more: str) -> int:
    with open("guard.toml", "w") as file:
        file.write("version = 1\n" + policy)
    return main(["gate", "base.json", "tuned.json", "--policy", "guard.toml", "--json", "r.json", *more])


@pytest.mark.parametrize(
    ("policy", "code"),
    [("max_drop = 7", 0), ("max_drop = 5", 2), ("max_drop = 1.5\nalpha = 0.3", 1), ('probes = "my_probes.jsonl"\nmax_drop = 7', 0)],
)  # fmt: skip
def test_the_gate_goes_by_the_policy(desk, policy, code):
    assert gate(policy) == code
    assert json.loads((desk / "r.json").read_text())["rules"]["max_drop"] in (7, 5, 1.5)
    page = main(["gate", "base.json", "tuned.json", "tuned.json", "--policy", "guard.toml", "--html", "r.html"])
    assert page in (0, 1, 2) and "Allowed" in (desk / "r.html").read_text()


def test_a_policy_of_other_probes_and_a_second_word_are_refused(desk, capsys):
    save_probes([Probe("What is 2+2?", "4.", "sums")], "other.jsonl")
    assert gate('probes = "other.jsonl"') == 2
    assert "measured on other probes than those that the policy names" in " ".join(capsys.readouterr().out.split())
    assert gate("max_drop = 7", "--max-drop", "20") == 2
    assert "--policy and --max-drop both say what may be lost" in " ".join(capsys.readouterr().out.split())


def test_compare_takes_its_probes_from_the_policy(desk, capsys):
    assert main(["compare", "--model", "m", "--adapter", "a"]) == 2
    assert "give --probes, or name them in the policy" in capsys.readouterr().err
    (desk / "guard.toml").write_text('version = 1\nprobes = "my_probes.jsonl"\n[capabilities.art]\nmax_drop = 1')
    assert main(["compare", "--model", "m", "--adapter", "a", "--policy", "guard.toml"]) == 2
    assert "'art' is not measured; the capabilities are sums." in capsys.readouterr().err
    assert main(["compare", "--model", "m", "--adapter", "a", "--policy", "guard.toml", "--probes", "o.jsonl"]) == 2
    assert "names my_probes.jsonl; leave one out." in capsys.readouterr().err


# --- What cannot have been meant ------------------------------------------------------------------------------------
WATCH = '[tiers.watch]\ncapabilities = ["style"]\ndecides = false\n'


@pytest.mark.parametrize(("text", "says"), [
    (WATCH + 'certify = "each"', "[tiers.watch] has certify = 'each', and the tier 'watch' decides nothing"),
    (WATCH + "max_drop = 1", "[tiers.watch] has max_drop = 1, and the tier 'watch' decides nothing"),
    ('default_tier = "watch"\n[tiers.core]\ncapabilities = ["facts"]\n' + WATCH + "[capabilities.safety]\nmax_drop = 1",
     "[capabilities.safety] has max_drop = 1, and the tier 'watch' decides nothing"),
    (WATCH + '[capabilities.style]\ncertify = "each"', "[capabilities.style] has certify = 'each', and the tier 'watch'"),
])  # fmt: skip
def test_a_budget_of_what_decides_nothing_is_a_contradiction(tmp_path, text, says):
    (tmp_path / "guard.toml").write_text(f"version = 1\n{text}\n")
    with pytest.raises(DataError) as refused:
        read_policy(tmp_path / "guard.toml")
    assert says in str(refused.value) and "let a tier that decides have it." in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("where", ["", "[tiers.t]\ncapabilities = ['txt']\n", "[capabilities.txt]\n"])
@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e308", "100", "1" + "0" * 400])
def test_a_budget_without_an_end_is_refused(tmp_path, where, value):
    (tmp_path / "guard.toml").write_text(f"version = 1\n{where}max_loss_rise = {value}\n")
    with pytest.raises(DataError, match="max_loss_rise is .*; give a (finite )?number"):
        read_policy(tmp_path / "guard.toml")


def test_a_budget_without_an_end_is_refused_in_python_too():
    for budget in (Budget(max_loss_rise=float("inf")), Budget(max_drop=float("nan")), Budget(max_drop=100)):
        with pytest.raises(MeasurementError, match="of 'a' is .*; give a number above 0 and below 100"):
            judge(measured(a=100), measured(a=100), budgets={"a": budget})
    with pytest.raises(MeasurementError, match="max_loss_rise is inf; give a number above 0 and below 100"):
        judge(measured(a=100), measured(a=100), max_loss_rise=float("inf"))


@pytest.mark.parametrize(("quantization", "allowed", "fits"), [
    ("4bit nf4 (bitsandbytes)", ["float32", "bfloat16"], False), ("4bit nf4 (bitsandbytes)", ["4bit"], True),
    ("8bit (bitsandbytes)", ["4bit"], False), ("GGUF Q4_K_M", ["bfloat16"], False), ("GGUF Q4_K_M", ["GGUF"], True),
    ("none", ["bfloat16"], True), ("none", ["4bit"], False), ("as served", ["bfloat16"], True),
])  # fmt: skip
def test_a_quantized_model_is_in_its_bits_whatever_it_is_computed_in(quantization, allowed, fits):
    base = measured("base", precision="bfloat16", a=100)
    small = Measurement("small", base.rows, asked={"precision": "bfloat16", "quantization": quantization})
    if fits:
        assert judge(small, small, precision=allowed).word == PASSED
    else:
        with pytest.raises(MeasurementError, match=f"was measured in .*, and the policy allows {', '.join(allowed)}"):
            judge(small, small, precision=allowed)
