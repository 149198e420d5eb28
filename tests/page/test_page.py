"""The playground in a browser, as people have it: on a phone and on a desk, by mouse, by keyboard and by address.

Each wait is for a thing. Runs are short where a whole one is not the point: it is the page that is looked at.
"""

import csv
import hashlib
import json
import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from axe import serious
from node_engine import NodeEngine, needs_node
from playwright.sync_api import expect

from capability_guard.verdict import compare
from utils.course.maintain.jupyter_pages import CHROMIUM, look, tab_to
from utils.page.build import MOST, build
from utils.page.engine.export import export
from utils.page.one_file import IN_ONE_FILE
from utils.training.config import FineTuneConfig
from utils.training.presets import PREDICT, preset

pytestmark = [
    pytest.mark.browser,
    pytest.mark.training,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here"),
]
PHONE, DESK = (390, 844), (1250, 900)
SHORT = "steps=8;evaluate_every=2"
RECKLESS = f"learning_rate=0.02;rank=1;{SHORT}"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page") / "playground"
    build(folder)
    return folder


class _Quiet(SimpleHTTPRequestHandler):
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript", ".wasm": "application/wasm"}

    def log_message(self, *args) -> None:
        """Nothing: what is asked for, the browser tells."""


@pytest.fixture(scope="module")
def address(built):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(built)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture
def opened(new_page, address):
    """Opens the page. Fails, at the end, if it asked anybody else for anything, or if its scripts complained."""
    asked, complaints = [], []

    def open_page(where="", size=DESK, scheme="light", before="", ready=True):
        page = new_page(*size, scheme)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        if before:
            page.add_init_script(before)
        page.goto(address + where)
        page.wait_for_function("() => globalThis.playground")
        if ready:
            page.evaluate("playground.ready")
        return page

    yield open_page
    assert all(url.startswith((address, "data:", "blob:")) for url in asked), asked
    assert not complaints


def finished(page, pattern=r"New-task loss (fell|rose)") -> str:
    """Waits until the figure's title matches."""
    expect(page.locator("#headline")).to_have_text(re.compile(pattern))
    return page.locator("#headline").inner_text()


def drag(page, name: str, to: float) -> None:
    """Takes a slider's handle to a share of its way, in several moves, and lets go."""
    slider = page.get_by_label(name, exact=True)
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    share = slider.evaluate("s => (s.value - s.min) / (s.max - s.min)")

    def place(at):
        return box["x"] + 13 + at * (box["width"] - 26)

    y = box["y"] + box["height"] / 2
    page.mouse.move(place(share), y)
    page.mouse.down()
    for i in range(1, 7):
        page.mouse.move(place(share + (to - share) * i / 6), y)
    page.mouse.up()


def shown(page) -> dict:
    return page.evaluate(
        "(({config, shown, faded}) => ({key: playground.session.address.key(config), state: shown?.state, "
        "steps: shown?.checkpoints.map(c => c.step), loss: shown?.checkpoints.map(c => c.held_out_loss), "
        "kept: shown?.result?.kept, turned: faded?.kept}))(playground.session)"
    )


# --- What is seen first ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_step_0_is_there_before_the_model_is(opened, size):
    held = []
    page = opened("?run=no", size, before="", ready=False)
    page.route("**/weights.bin", lambda route: held.append(route))
    page.reload()
    expect(page.locator("#headline")).to_have_text("Before training, 100 % of the probes are right")
    assert page.locator("#retention .line.all path").count() == 1
    assert page.locator("#plane .spot.stored").count() == 64
    assert "Paris." in page.locator("#answers").inner_text()
    expect(page.locator("#download")).to_contain_text(re.compile(r"Loading the model: 3\.\d MB"))
    for name in ("learning rate", "LoRA rank", "adapter strength"):
        box = page.get_by_label(name, exact=True).bounding_box()
        assert box["height"] >= 44 and box["y"] + box["height"] < size[1], (
            f"{name} is not for a thumb, or not on the first screen"
        )
    assert page.locator("#retention").bounding_box()["y"] < 0.6 * size[1]
    look(page, f"page-{size[0]}-loading")
    page.wait_for_function("() => document.querySelector('#progress').hidden === false")
    held[0].continue_()
    page.evaluate("playground.ready")
    expect(page.locator("#download")).to_be_hidden()
    finished(page, "press Run")


def test_it_is_small_and_says_how_large(opened, built, address):
    loaded = []
    page = opened("?run=no", ready=False)
    page.on("response", lambda response: loaded.append(response.url.removeprefix(address).partition("?")[0]))
    page.reload()
    page.evaluate("playground.ready")
    sizes = [(built / (name or "index.html")).stat().st_size for name in set(loaded)]
    assert 3_000_000 < sum(sizes) <= MOST == 3_500_000
    assert float(page.locator("#size").inner_text()) == pytest.approx(sum(sizes) / 1e6, abs=0.051)
    assert "Nothing is sent anywhere" in page.inner_text("header")


def test_on_a_metered_line_it_asks_first(opened):
    loaded = []
    page = opened(
        f"#{SHORT}",
        PHONE,
        before="Object.defineProperty(navigator, 'connection', {value: {saveData: true}})",
        ready=False,
    )
    page.on("request", lambda request: loaded.append(request.url))
    button = page.get_by_role("button", name=re.compile(r"Load the model \(3\.\d MB\)"))
    expect(button).to_be_visible()
    drag(page, "learning rate", 0.9)  # meanwhile, what is stored answers
    finished(page)
    assert "Stored run" in page.evaluate("document.querySelector('#in-words').textContent")
    assert not any("weights" in url for url in loaded)
    button.click()
    page.evaluate("playground.ready")
    expect(page.locator("#status")).to_contain_text("Trained in")
    assert any("weights" in url for url in loaded)


# --- Sliders --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_drag_the_learning_rate_and_it_forgets_turn_it_down_and_it_remembers(opened, size):
    page = opened(f"#rank=1;{SHORT}", size)
    finished(page)
    careful = shown(page)
    look(page, f"page-{size[0]}-finished")
    drag(page, "learning rate", 0.92)
    finished(page, "Training: step")
    finished(page)
    page.wait_for_function("() => playground.session.shown.state == 'finished'")
    reckless = shown(page)
    assert "rank=1" in reckless["key"] and reckless["key"] != careful["key"]
    assert reckless["steps"] == [0, 2, 4, 6, 8] and reckless["loss"][-1] < careful["loss"][-1]
    assert reckless["kept"] < careful["kept"] - 10
    assert page.locator("#retention .line.all path").count() == 5
    assert page.locator("#retention .line.faint").count() == 1, "the run before stays, faint"

    calls = page.evaluate("playground.calls")
    drag(page, "adapter strength", 0.3)
    title = finished(page, r"At strength 0\.30")
    assert shown(page)["turned"] > reckless["kept"] + 5, title
    assert page.evaluate("playground.calls.run") == calls["run"], "nothing was trained for it"
    expect(page.locator("#now")).to_have_text("at strength 0.30")
    expect(page.locator("#answers tbody td").last).not_to_have_text("…")
    assert page.locator("#plane .spot.turned").count() == page.locator("#retention .spot.turned").count() == 1
    look(page, f"page-{size[0]}-faded")
    drag(page, "adapter strength", 0)
    finished(page, r"At strength 0\.00: new-task loss fell 0\s%; retention is 100\s%")
    drag(page, "adapter strength", 1)
    assert finished(page)


def test_the_fade_path_draws_itself_and_stops_for_a_run(opened):
    page = opened(f"#{RECKLESS}")
    finished(page)
    page.wait_for_function("() => document.querySelectorAll('#plane .line.turned path').length > 3")
    assert page.evaluate("playground.calls.run") == 1
    page.get_by_role("button", name="Run again").click()
    page.wait_for_function("() => playground.calls.run == 2")
    page.wait_for_function("() => document.querySelectorAll('#plane .line.turned path').length > 3")


def test_stop_ends_within_a_step_and_a_move_starts_again(opened):
    page = opened("#steps=160")
    page.wait_for_function("() => playground.session.shown?.step > 1")
    step = page.evaluate("(document.querySelector('#run').click(), playground.session.shown.step)")
    finished(page, r"Stopped at step \d+ of 160")
    page.wait_for_function("() => playground.calls.stop == 1")
    assert page.evaluate("playground.session.shown.step") == step
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_function("() => playground.session.active[0]?.step > 0")
    page.evaluate("document.querySelector('#settings').open = true")
    page.get_by_label("steps", exact=True).select_option("8")
    finished(page)
    assert shown(page)["key"] == "steps=8;evaluate_every=1" and shown(page)["steps"] == list(range(9))
    page.get_by_role("button", name="Undo").click()
    page.wait_for_function("() => playground.session.active[0]?.config.steps == 160")
    page.get_by_role("button", name="Stop").click()


def test_the_page_does_not_stutter(opened):
    """While a run trains, the page answers: no task of its main thread is longer than a tenth of what a step takes here."""
    page = opened("?run=no")
    longest = page.evaluate(
        """async () => {
          const gaps = [];
          let last = performance.now(), on = true;
          const channel = new MessageChannel();
          channel.port1.onmessage = () => {
            const now = performance.now();
            gaps.push(now - last);
            last = now;
            if (on) setTimeout(() => channel.port2.postMessage(0));
          };
          channel.port2.postMessage(0);
          const began = performance.now();
          await playground.run({steps: 12, evaluate_every: 4});
          on = false;
          return [Math.max(...gaps), performance.now() - began];
        }"""
    )
    assert longest[0] < longest[1] / 4, longest  # in the main thread, the run would be one gap


# --- Addresses ------------------------------------------------------------------------------------------------------
@needs_node
def test_the_hook_gives_what_the_engine_gives(opened, built, tmp_path):
    changes = {"learning_rate": 5e-3, "rank": 1, "seed": 3, "dropout": False, "steps": 8, "evaluate_every": 4}
    page = opened("?run=no")
    here = page.evaluate("changes => playground.run(changes)", changes)
    export(tmp_path)  # as the page has it, before its texts were packed
    assert (tmp_path / "weights.bin").read_bytes() == (built / "model" / "weights.bin").read_bytes()
    engine = NodeEngine(tmp_path, "weights.bin")
    there = engine("run", changes, {"early": [2]})
    baseline = engine("measure", {"probes": "all"}) if engine("start", changes) else None
    engine.close()
    assert here["steps"] == there["steps"] == [0, 2, 4, 8]
    assert here["held_out_loss"] == pytest.approx(there["held_out_loss"], abs=1e-4)
    assert here["retention"] == there["retention"] and here["after"] == there["after"]
    stored = json.loads((built / "stored.json").read_text(encoding="utf-8"))["baseline"]
    assert stored["outcomes"] == baseline["outcomes"] and stored["by_capability"] == baseline["by_capability"]
    for name in ("train_loss", "held_out_loss", "original_loss"):
        assert stored[name] == pytest.approx(baseline[name], abs=1e-3)  # of the real weights, and of the rounded ones


def test_an_address_is_a_run_and_a_move_is_an_address(opened):
    page = opened(f"#{RECKLESS};seed=5;strength=0.5")
    finished(page, r"At strength 0\.50")
    first = shown(page)
    assert first["key"] == "learning_rate=0.02;rank=1;steps=8;seed=5;evaluate_every=2"
    page.get_by_label("LoRA rank", exact=True).focus()
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile(r"#learning_rate=0\.02;rank=2;steps=8;seed=5;evaluate_every=2;strength=0\.5$"))
    there = page.url.replace("rank=2", "rank=1")
    page.close()
    again = opened(there[there.index("#") :])
    finished(again, r"At strength 0\.50")
    assert shown(again) == first
    again.evaluate("location.hash = 'learning_rate=0.001;steps=8'")
    finished(again, "Training|New-task")
    assert shown(again)["key"] == "learning_rate=0.001;steps=8"
    assert (
        FineTuneConfig.from_string(again.evaluate("playground.session.address.format(playground.session.config)")).steps
        == 8
    )


@pytest.mark.parametrize(("where", "says"), [
    ("#rank=0", "rank is 0; it must be at least 1 and at most 64."),
    ("#learning_rate=fast", 'learning_rate is "fast"; it must be a number.'),
    ("#banana", '"banana" is not a setting; write name=value with one of model, method,'),
    ("#strength=2", "strength is 2; it must be at least 0 and at most 1."),
    ("?preset=bold", '"bold" is not a preset; use one of careful, reckless,'),
    ("?lock=colour", 'lock has "colour"; use one of learning_rate, rank,'),
    ("#%E0%A4%A", "is not a setting"),
])  # fmt: skip
def test_a_bad_address_gets_one_clear_sentence(opened, where, says):
    page = opened(where)
    expect(page.locator("#status")).to_contain_text("The address cannot be read: ")
    assert says in page.locator("#status").inner_text()
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_enabled()


def test_settings_are_checked_where_they_are_pasted(opened):
    page = opened("?run=no&lock=seed")
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    field = page.locator("#text")
    for text, says in (
        ("seed=1", "seed is locked at 0 here; leave it as it is."),
        ("rank=2.5", "rank is 2.5; it must be a whole number."),
        ("learning_rate=0.013;remedy=dora", 'remedy is "dora", and this page trains without remedies; leave it out'),
        ("examples=100;steps=8", "the task has 72 rows; ask for fewer"),
    ):
        field.fill(text)
        field.press("Enter")
        expect(page.locator("#status")).to_contain_text(says)
    field.fill(f"https://example.org/playground/#{SHORT};rank=16")
    field.press("Enter")
    finished(page)
    assert shown(page)["key"] == "rank=16;steps=8;evaluate_every=2"
    assert page.get_by_label("seed", exact=True).is_disabled()


def test_a_preset_asks_for_a_prediction_first(opened):
    page = opened("?preset=reckless&lock=learning_rate&hide=rank,class")
    assert page.locator("#claim").inner_text() == f"{PREDICT['reckless']} Mark your guess, then press Run."
    finished(page, "press Run")
    assert shown(page)["key"] == str(preset("reckless")) and not page.evaluate("playground.calls.run")
    assert page.get_by_label("learning rate", exact=True).is_disabled()
    expect(page.get_by_label("LoRA rank", exact=True)).to_be_hidden()
    expect(page.get_by_text("For a class")).to_be_hidden()
    page.evaluate("playground.session.set({steps: 8, evaluate_every: 2})")  # a shorter one
    page.get_by_label("my guess", exact=True).focus()
    page.keyboard.press("End")
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    expect(page.locator("#score")).to_have_text("Your guess for the next run: 80 %.")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("#retention .words.guess")).to_have_text("your guess: 80 %")
    finished(page)
    kept = shown(page)["kept"]
    expect(page.locator("#score")).to_have_text(
        f"You guessed 80 %, and it was {kept:.0f} %: {abs(80 - kept):.0f} points off."
    )
    page.get_by_label("preset", exact=True).select_option("careful")
    expect(page.locator("#claim")).to_contain_text(PREDICT["careful"])
    assert "0.013" in shown(page)["key"], "what is locked stays"


# --- Answers, pins and a class --------------------------------------------------------------------------------------
def test_answers_are_read_at_each_checkpoint(opened):
    page = opened(f"#{RECKLESS}", PHONE)
    finished(page)
    slider = page.get_by_label("checkpoint", exact=True)
    assert slider.evaluate("s => [s.max, s.value]") == ["4", "4"]
    end = page.locator("#answers").inner_text()
    slider.focus()
    page.keyboard.press("Home")
    expect(page.locator("#now")).to_have_text("at step 0")
    rows = page.locator("#answers tbody tr").all()
    assert all(row.locator("td").first.inner_text() == row.locator("td").last.inner_text() for row in rows)
    assert page.locator("#retention .line.marked").count() == 1
    for step in (2, 4, 6, 8):
        page.keyboard.press("ArrowRight")
        expect(page.locator("#now")).to_have_text(f"at step {step}")
        assert "…" not in page.locator("#answers").inner_text()
    assert page.locator("#answers").inner_text() == end


def test_pins_become_a_table_and_a_csv(opened):
    page = opened(f"#{SHORT}")
    page.evaluate("document.querySelector('#share').open = true")
    finished(page)
    page.get_by_role("button", name="Pin this run").click()
    drag(page, "learning rate", 0.9)
    finished(page, "Training")
    finished(page)
    expect(page.locator("#retention .words.pin")).to_have_text("A")
    drag(page, "adapter strength", 0.5)
    finished(page, "At strength 0.50")
    page.get_by_role("button", name="Pin this run").click()
    expect(page.locator("#pins tbody tr")).to_have_count(2)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    with open(download.value.path(), newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["pin"] for row in rows] == ["A", "B"]
    assert list(rows[0]) == ["pin", "settings", "LoRA scale", "learned (% of loss)", "forgotten (points)", "seconds"]
    assert (
        rows[0]["settings"] == SHORT and rows[1]["settings"].endswith(";strength=0.5") and rows[1]["LoRA scale"] == "2"
    )
    assert FineTuneConfig.from_string(rows[1]["settings"]).strength == 0.5
    assert float(rows[1]["learned (% of loss)"]) > float(rows[0]["learned (% of loss)"]) > 0
    page.get_by_role("button", name="Unpin A").click()
    expect(page.locator("#pins tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Clear pins").click()
    expect(page.locator("#pins")).to_be_hidden()


def test_a_class_becomes_points(opened):
    page = opened("?run=no", PHONE)
    page.get_by_text("For a class").click()
    page.locator("#lines").fill(
        "Ada: learning_rate=0.005;rank=1 | learned 69 %, lost 21.2 points\n"
        "https://example.org/playground/#learning_rate=0.013;rank=64\n"  # among the stored runs
        f"Bo: https://example.org/playground/#{RECKLESS};seed=7\n\n"
        "Cy: rank=banana\nDi: rank=1 | it forgot a lot"
    )
    page.get_by_role("button", name="Show them").click()
    said = page.locator("#lines-said")
    expect(said).to_contain_text("2 of 3 runs are in the plane. 1 came without a result.")
    expect(said).to_contain_text('Line 5: rank is "banana"; it must be a number.')
    expect(said).to_contain_text('Line 6: "it forgot a lot" is no result; write: learned 69 %, lost 21.2 points.')
    expect(page.locator("#plane .spot.class")).to_have_count(2)
    assert "Ada: learning_rate=0.005;rank=1" in page.locator("#plane .spot.class title").first.text_content()
    page.get_by_role("button", name="Train the 1 without a result").click()
    expect(page.locator("#plane .spot.class")).to_have_count(3)
    look(page, "page-class")
    line = page.evaluate(
        "import('./classroom.mjs').then(({resultLine}) => resultLine(playground.session.address, playground.session.runs[0], 1))"
    )
    assert re.fullmatch(
        r"learning_rate=0\.02;rank=1;steps=8;seed=7;evaluate_every=2 \| learned -?[\d.]+ %, lost [\d.]+ points", line
    )
    page.get_by_role("button", name="Clear", exact=True).click()
    expect(page.locator("#plane .spot.class")).to_have_count(0)


# What the package qrcode 8.2 draws for the same bytes, version, level M and mask: the first half of its SHA-256, rows by line.
CODES = [
    ("https://example.org/", 0, "1c06b2afe7b1656f"),
    ("https://example.org/playground/#learning_rate=0.013;rank=1;strength=0.6", 3, "60e9378d69ef8687"),
    ("https://example.org/playground/#" + "replay=0.25;" * 12 + "ü", 7, "4a948ae5c89f3856"),
]


def test_an_address_is_a_qr_code(opened):
    page = opened("?run=no")
    draw = "([text, mask]) => import('./qr.mjs').then(({qrCode}) => qrCode(text, mask).map(r => r.map(Number).join('')).join('\\n'))"
    for text, mask, digest in CODES:
        rows = page.evaluate(draw, [text, mask])
        assert hashlib.sha256(rows.encode()).hexdigest()[:16] == digest
        best = page.evaluate(draw, [text, None])
        assert len(best) == len(rows)
    page.evaluate("document.querySelector('#share').open = true")
    expect(page.locator("#qr-words")).to_have_text(page.url)
    squares = page.evaluate("document.querySelector('#qr path').getAttribute('d').split('M').length - 1")
    assert squares == page.evaluate(draw.replace("mask)", "undefined)"), [page.url, None]).count("1")


def test_verdicts_are_those_of_the_course(opened):
    page = opened("?run=no")
    cases = [
        (339, 0, 0),
        (339, 5, 0),
        (339, 20, 3),
        (339, 339, 0),
        (339, 0, 4),
        (20, 6, 0),
        (339, 3, 3),
        (100, 9, 2),
        (339, 2, 9),
    ]
    for probes, lost, gained in cases:
        before = [i < probes - gained for i in range(probes)]
        after = [i >= lost for i in range(probes)]
        said = page.evaluate(
            "([b, a]) => import('./verdict.mjs').then(({compare, inWords}) => inWords(compare(b, a)))", [before, after]
        )
        assert said == str(compare(before, after))


# --- Who else must be able to use it --------------------------------------------------------------------------------
def test_by_keyboard_alone(opened):
    page = opened(f"#{SHORT}", DESK)
    finished(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the figures"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "figures" and page.url.endswith(f"#{SHORT}")
    tab_to(page, "focus.id === 'learning_rate'", "Shift+Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid", "the focus is seen"
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("() => playground.session.shown?.config.learning_rate > 0.004")
    finished(page)
    assert page.evaluate("playground.session.runs.length") == 2, "keys in a row are one run"
    tab_to(page, "focus.id === 'strength'")
    page.keyboard.press("PageDown")
    finished(page, "At strength 0.")
    tab_to(page, "focus.id === 'undo'")
    page.keyboard.press("Enter")
    finished(page, "New-task loss")
    tab_to(page, "focus.textContent === 'Pin, compare and share'")
    page.keyboard.press("Enter")
    tab_to(page, "focus.id === 'pin'")
    page.keyboard.press("Space")
    expect(page.locator("#pins tbody tr")).to_have_count(1)


@pytest.mark.parametrize("scheme,size", [("light", PHONE), ("dark", PHONE), ("light", (768, 1024)), ("light", DESK), ("dark", DESK),
    ("dark", (1600, 900))], ids=lambda given: given if isinstance(given, str) else str(given[0]))  # fmt: skip
def test_nothing_shuts_anybody_out(opened, scheme, size):
    page = opened(f"#{RECKLESS};strength=0.5", size, scheme)
    finished(page, "At strength")
    page.evaluate("(playground.session.pin(), document.querySelectorAll('details').forEach(d => d.open = true))")
    expect(page.locator("#pins tbody tr")).to_have_count(1)
    assert serious(page) == [], (size, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    look(page, f"page-{size[0]}-{scheme}")
    for name in ("retention", "plane", "loss"):
        words = page.locator(f"#{name} desc").text_content()
        assert "held-out new-task loss went from 10.6 to" in words and "Turned down after the training" in words
    page.close()


def test_dark_and_light_differ(opened):
    light, dark = (opened("?run=no", DESK, scheme) for scheme in ("light", "dark"))
    for colour in (
        "getComputedStyle(document.body).backgroundColor",
        "getComputedStyle(document.querySelector('#retention text')).fill",
    ):
        assert light.evaluate(colour) != dark.evaluate(colour)


def test_without_simd_the_stored_runs_answer(opened):
    page = opened(f"#{SHORT}", PHONE, before="WebAssembly.validate = () => false")
    expect(page.locator("#download")).to_contain_text(
        "lacks WebAssembly SIMD. The sliders show the course's stored runs"
    )
    mild = finished(page)
    drag(page, "learning rate", 0.92)
    expect(page.locator("#headline")).not_to_have_text(mild)
    assert shown(page)["kept"] < 70 and len(shown(page)["steps"]) > 5
    assert "Stored run: " in page.evaluate("document.querySelector('#in-words').textContent")
    assert page.get_by_role("button", name="Run", exact=True).is_disabled()
    kept = shown(page)["kept"]
    drag(page, "adapter strength", 0.45)  # between two stored strengths
    finished(page, r"At strength 0\.[45]0")
    assert shown(page)["turned"] > kept + 20
    expect(page.locator("#turned")).to_contain_text("stored at 0.")
    assert not page.evaluate("playground.calls.run")
    look(page, "page-without-simd")


# --- From a folder --------------------------------------------------------------------------------------------------
def test_from_a_folder_one_file_trains_and_the_other_leads_to_it(new_page, built, tmp_path):
    asked = []
    alone = tmp_path / "sent by mail.html"
    alone.write_bytes((built / IN_ONE_FILE).read_bytes())
    page = new_page(*PHONE)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{alone.as_uri()}#{SHORT}")
    page.wait_for_function("() => globalThis.playground")
    finished(page)
    assert shown(page)["steps"] == [0, 2, 4, 6, 8]
    drag(page, "adapter strength", 0.5)
    finished(page, "At strength 0.50")
    assert all(url.startswith((alone.as_uri(), "blob:", "data:")) for url in asked), asked
    page = new_page(*PHONE)
    page.goto(f"{(built / 'index.html').as_uri()}?preset=reckless#rank=1")  # browsers load no modules from a folder
    page.wait_for_url(re.compile(re.escape(f"{IN_ONE_FILE}?preset=reckless#rank=1")))
    expect(page.locator("#claim")).to_contain_text(PREDICT["reckless"])
