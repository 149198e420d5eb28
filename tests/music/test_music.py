"""Notes are read, compared, drawn and made to sound; whatever a spoiled model writes, nothing breaks."""

import io
import wave

import numpy as np
import pytest

from capability_guard.probes import load_probes
from utils.music.figures import piano_roll, plot_accuracy
from utils.music.notes import (
    RATE,
    Takes,
    accuracy,
    accuracy_curve,
    align,
    is_right,
    listen,
    parse,
    piece_name,
    sentence,
    synthesise,
    to_wav,
)
from utils.training.data import REPERTOIRE, load_task

ODE = "E E F G G F E D C C D E E3/2 D/2 D2"
NO_NOTES = [
    "_",
    "_BE/2",
    "H",
    "^",
    "C0",
    "C/0",
    "C99",
    "^z",
    "z'",
    "C,,,,,,,",
    "c''''''",
    "Customer:",
    "E2E",
    "٣",
    "C٣",
]


@pytest.mark.parametrize(
    ("token", "beats", "pitch", "name"),
    [
        ("C", 1, 60, "C4"),
        ("c", 1, 72, "C5"),
        ("C,", 1, 48, "C3"),
        ("c'", 1, 84, "C6"),
        ("A", 1, 69, "A4"),
        ("^F/2", 0.5, 66, "F♯4"),
        ("_B2", 2, 70, "B♭4"),
        ("_C", 1, 59, "C♭4"),
        ("=E3/2", 1.5, 64, "E4"),
        ("G/", 0.5, 67, "G4"),
        ("C/4", 0.25, 60, "C4"),
        ("z/2", 0.5, None, "rest"),
    ],
)
def test_a_token_is_read(token, beats, pitch, name):
    (note,) = parse(token)
    assert (note.beats, note.pitch, note.name, note.token, note.start) == (beats, pitch, name, token, 0)


@pytest.mark.parametrize("token", NO_NOTES)
def test_what_is_no_note_takes_no_time_and_is_never_right(token):
    before, wrong, after = parse(f"C {token} D")
    assert not wrong.readable and wrong.pitch is None and wrong.name == "no note"
    assert (before.start, after.start) == (0, 1)
    assert accuracy(parse(token), parse(token)) == 0
    assert len(synthesise(parse(f"C {token} D"))) == len(synthesise(parse("C D")))


def test_notes_follow_one_another():
    assert [note.start for note in parse("E z/2 F3/2 G")] == [0, 1, 1.5, 3]
    assert parse("") == parse(" \n ") == []


def test_every_melody_of_the_course_is_readable():
    melodies = [
        p for use in ("probe", "replay") for p in load_probes(REPERTOIRE, use=use) if p.capability == "melodies"
    ]
    riffs = [text.split(". ")[1] for split in load_task("jazz_riff").values() for text in split["text"]]
    assert len(melodies) == 40 and len(riffs) == 32
    for melody in [p.answer for p in melodies] + riffs:
        assert all(note.readable for note in parse(melody)), melody
        assert accuracy(parse(melody), parse(melody)) == 1


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("Play Ode to Joy, part 1.", "Ode to Joy"),
        ("Play the Canon in D, part 2.", "Canon in D"),
        ("Play the Midnight Riff, take 9.", "Midnight Riff"),
        ("What is 2+2?", "What is 2+2?"),
    ],
)
def test_piece_names(prompt, name):
    assert piece_name(prompt) == name


@pytest.mark.parametrize(
    ("played", "share", "words"),
    [
        ("C D E F", 1, "4 of 4 notes right"),
        ("C D ^E F", 3 / 4, "3 of 4 notes right, 1 wrong"),
        ("C D E/2 F", 3 / 4, "3 of 4 notes right, 1 wrong"),
        ("C E F", 3 / 4, "3 of 4 notes right, 1 left out"),
        ("C C D E F", 4 / 5, "4 of 4 notes right, 1 too many"),
        ("C D E F C D E F", 1 / 2, "4 of 4 notes right, 4 too many"),
        ("", 0, "0 of 4 notes right, 4 left out"),
        ("Thank you", 0, "0 of 4 notes right, 2 wrong, 2 left out"),
    ],
)
def test_accuracy_and_its_words(played, share, words):
    assert accuracy(parse("C D E F"), parse(played)) == pytest.approx(share)
    assert sentence(parse("C D E F"), parse(played)) == words


def test_nothing_asked_and_nothing_played_is_right():
    assert accuracy([], []) == 1 and accuracy([], parse("C")) == 0


def test_alignment_keeps_every_note_in_order_and_matches_early():
    score, played = parse(ODE), parse("E F G z G E E2 D C C C")
    pairs = align(score, played)
    assert [a for a, _ in pairs if a] == score and [b for _, b in pairs if b] == played
    once, twice = align(parse("C D2"), parse("C D2 D2"))[1:]
    assert is_right(once) and twice[0] is None, "the first of two is the one that was meant"


def test_accuracy_over_a_run():
    assert accuracy_curve(["C D", "E"], {0: ["C D", "E"], 4: ["C", "F"]}) == {0: [1, 1], 4: [0.5, 0]}


def test_sound_has_the_right_length_and_level():
    sound = synthesise(parse(ODE), tempo=120)
    assert sound.ndim == 1 and len(sound) == round((16 * 0.5 + 0.2) * RATE)
    assert 0.5 < np.abs(sound).max() <= 1
    assert np.sqrt(np.mean(sound**2)) > 0.05, "not silent"
    assert abs(sound[0]) < 0.01 and abs(sound[-1]) < 0.01, "no click at either end"
    assert len(synthesise(parse(ODE), tempo=120, rate=8000)) == round(8.2 * 8000)


@pytest.mark.parametrize(("token", "hertz"), [("A4", 440.0), ("C4", 261.63), ("_B,4", 233.08), ("g4", 783.99)])
def test_sound_has_the_right_pitch(token, hertz):
    sound = synthesise(parse(token), tempo=60)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    assert np.fft.rfftfreq(len(sound), 1 / RATE)[spectrum.argmax()] == pytest.approx(hertz, abs=0.5)


def test_a_rest_is_silent_and_the_notes_around_it_are_not():
    sound = synthesise(parse("C z2 C"), tempo=60)
    loud = [np.abs(sound[int(a * RATE) : int(b * RATE)]).max() for a, b in ((0, 1), (1.3, 2.9), (3, 4))]
    assert loud[1] == 0 and min(loud[0], loud[2]) > 0.3
    assert not synthesise(parse("z4")).any() and not synthesise([]).any()


@pytest.mark.parametrize("wrong", [{"tempo": 0}, {"tempo": float("nan")}, {"rate": -1}])
def test_impossible_tempo_and_rate(wrong):
    with pytest.raises(ValueError, match="more than 0"):
        synthesise(parse("C"), **wrong)


def test_wav_is_small_and_says_the_same():
    sound = synthesise(parse(ODE))
    data = to_wav(sound)
    assert len(data) < 60_000, "a notebook carries many of these"
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 1, RATE)
        heard = (np.frombuffer(file.readframes(file.getnframes()), np.uint8) - 128.0) / 127
    assert np.abs(heard - sound).max() < 0.01
    assert "audio/wav" in listen(ODE)._repr_html_()


def test_takes_are_a_table_with_players_and_escaped_words():
    takes = Takes("C D", {"step 0": "C D", "step 4": "<b>C</b> D", "step 8": ""})
    html = takes._repr_html_()
    assert html.count("<audio") == html.count("aria-label") == 3 and "&lt;b&gt;" in html and "<b>C</b>" not in html
    assert repr(takes).splitlines()[0] == "step 0: 2 of 2 notes right. C D"


def drawn(figure):
    """Facecolours of the bars in each row, outlines as "none"."""
    rows = [[p for p in axes.patches if p.get_width() > 0] for axes in figure.axes]
    return [[(p.get_fill() and p.get_facecolor()[3] > 0, p.get_hatch()) for p in row] for row in rows]


def test_piano_roll_marks_what_is_wrong_twice():
    figure = piano_roll("Ode", "C D E", {"before": "C D E", "after": "C ^D2 _"})
    before, after = drawn(figure)
    assert before == [(True, None)] * 3
    # right; the outline of D, ^D in its place; the outline of E, and no bar for what is no note
    assert sorted(after, key=str) == sorted([(True, None), (False, None), (True, "////"), (False, None)], key=str)
    crosses = [line for line in figure.axes[1].lines if line.get_marker() == "x"]
    assert len(crosses) == 1 and crosses[0].get_xdata()[0] == 2
    assert "?" in [text.get_text() for text in figure.axes[1].texts]
    assert figure.get_suptitle() == "Ode: note accuracy 100% (before), 33% (after)"
    assert "beats" in figure.axes[1].get_xlabel()
    assert {label.get_text() for label in figure.axes[1].get_yticklabels()} == {"C4", "D4", "D♯4", "E4"}


@pytest.mark.parametrize("take", ["", "z z", " ".join(NO_NOTES), "C,,,, c''''", ODE])
def test_piano_roll_draws_anything(take):
    for figure in (piano_roll("Ode", ODE, {"a": take}), piano_roll("odd", take), piano_roll("odd", take, {"a": ODE})):
        figure.canvas.draw()
        assert figure.get_suptitle()


def test_names_of_notes_do_not_touch_where_the_range_is_wide():
    wide = piano_roll("wide", "C ^C D ^D E F ^F G c", {"a": "C"})
    assert [label.get_text() for label in wide.axes[0].get_yticklabels()] == ["C4", "D4", "E4", "F♯4", "C5"]


def test_accuracy_figure():
    curve = {0: [1.0, 1.0, 1.0], 4: [0.5, 0.0, 1.0]}
    figure = plot_accuracy({"alone": curve, "mixed": curve}, ["Ode", "Fifth", "Canon"], named=("Fifth",), title="Found")
    figure.canvas.draw()
    for axes in figure.axes:
        mean = next(line for line in axes.lines if line.get_label().startswith("mean"))
        assert list(mean.get_ydata()) == [1, 0.5] and list(mean.get_xdata()) == [0, 4]
        assert len(axes.lines) == 4 and "step" in axes.get_xlabel()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "the other pieces", "Fifth", "mean of 3 pieces",
    ]  # fmt: skip
