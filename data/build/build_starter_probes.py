"""Write the guard's starter set: 640 generated probes in eight capabilities, for any model that follows an instruction.

    python data/build/build_starter_probes.py

Each answer is computed, and so is that every other choice is wrong: JSON is parsed, rules are checked, code is run. Nothing is
taken from anywhere. It is seeded, so the same script gives the same bytes; a change of it is a new version, under a new name.
"""

# ruff: noqa: E501 - the lines of a table are long

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable, Iterator

from capability_guard.probes import STARTER, Probe, save_probes

EACH = 80
NAMES = [
    "Ada",
    "Ben",
    "Cleo",
    "Dov",
    "Eve",
    "Finn",
    "Gus",
    "Hana",
    "Ivo",
    "June",
    "Kai",
    "Lena",
    "Milo",
    "Nora",
    "Otto",
    "Pia",
]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
THINGS = ["kite", "lamp", "boat", "drum", "coat", "chair", "bottle", "basket", "ladder", "mirror", "bicycle", "kettle"]
COLOURS = ["red", "blue", "green", "yellow", "black", "white", "purple", "brown"]
PLACES = ["kitchen", "garden", "cellar", "attic", "garage", "hall", "office", "library"]
# Names of nothing: each was put together from syllables, and is no country and no writer.
NOWHERE = [
    "Velmoria",
    "Ostrovane",
    "Quendalia",
    "Tarsinland",
    "Brulovia",
    "Ximberia",
    "Dravonesia",
    "Polmarenia",
    "Zentavia",
    "Orlundy",
]
NOBODY = ["Halvor Brindlemoss", "Isolde Tramkin", "Jory Quelpath", "Mireth Osgable", "Tobin Varrowick", "Sella Drumhale",
          "Perrin Ostwhistle", "Calla Umberfen", "Dorrin Fexley", "Wenna Strullock"]  # fmt: skip


def arithmetic(rng: random.Random) -> Iterator[Probe]:
    while True:
        a, b = rng.randint(2, 60), rng.randint(2, 60)
        sign, result = rng.choice([("+", a + b), ("-", a - b), ("times", a % 10 * (b % 10))])
        if sign == "times":
            a, b = a % 10, b % 10
        if result > 1 and str(result) not in (
            str(a),
            str(b),
        ):  # an answer in its own question would be right by repeating it
            yield asked(f"What is {a} {sign} {b}? Answer with the number.", f"{result}", "arithmetic", "contains")


def calendar(rng: random.Random) -> Iterator[Probe]:
    while True:
        names, what = rng.choice([(DAYS, "day"), (MONTHS, "month")])
        i, n = rng.randrange(len(names)), rng.randint(1, 5)
        way, answer = rng.choice([("after", names[(i + n) % len(names)]), ("before", names[(i - n) % len(names)])])
        yield asked(f"Which {what} comes {n} {what}{'s' * (n > 1)} {way} {names[i]}?", answer, "calendar", "contains")


def code(rng: random.Random) -> Iterator[Probe]:
    """One expression of Python each, which is run."""
    while True:
        numbers, word = [rng.randint(1, 9) for _ in range(rng.randint(3, 5))], rng.choice(THINGS)
        expression = rng.choice([
            f"len({numbers})", f"sum({numbers})", f"max({numbers})", f"sorted({numbers})[0]", f"{numbers}[-1]", f"{numbers}[1]",
            f"len('{word}')", f"'{word}'[0]", f"'{word}'[-1]", f"'{word}'.upper()", f"'{word}'[::-1]", f"{numbers[0]} ** 2",
            f"{numbers[0] + 9} % {numbers[1]}", f"{numbers[0] + 9} // {numbers[1]}", f"'{word[:3]}' in '{word}'",
        ])  # fmt: skip
        right = repr(eval(expression, {}))
        pool = [
            word,
            word.upper(),
            word[::-1],
            word[0],
            word[-1],
            *numbers,
            len(word),
            len(numbers),
            sum(numbers),
            True,
            False,
            0,
        ]
        yield from chosen(rng, f"What does this Python expression give? {expression}", right, map(repr, pool), "code")


def formats(rng: random.Random) -> Iterator[Probe]:
    while True:
        colours, name, n = rng.sample(COLOURS, 3), rng.choice(NAMES), rng.randint(2, 99)
        good = json.dumps({"name": name, "colours": colours[:2], "age": n})
        spoilt = [
            good.replace('"', "'"),
            good[:-1],
            good.replace(": [", ": ").replace("]", ""),
            good.replace(",", ";"),
            good + "}",
        ]
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow([name, f"{colours[0]}, {colours[1]}", n])
        day, month, year = rng.randint(13, 28), rng.randint(1, 9), rng.randint(1950, 2030)
        iso = f"{year}-{month:02}-{day}"
        prompt, right, pool = rng.choice([
            (f"Which of these is valid JSON about {name}?", good, [text for text in spoilt if not is_json(text)]),
            (f'Write {name}, the text "{colours[0]}, {colours[1]}" and {n} as one line of CSV.', line.getvalue(),
             [line.getvalue().replace('"', ""), line.getvalue().replace(",", ";"), f"{name}|{colours[0]}|{n}"]),
            (f"Write the {day} {MONTHS[month - 1]} {year} as an ISO 8601 date.", iso,
             [f"{day}-{month:02}-{year}", f"{month:02}/{day}/{year}", f"{year}-{day}-{month:02}"]),
            (f"Write {colours[0]}, {colours[1]} and {colours[2]} as a Markdown list.", "\n".join(f"- {c}" for c in colours),
             [", ".join(colours), "\n".join(f"<li>{c}" for c in colours), "; ".join(f"{c} -" for c in colours)]),
        ])  # fmt: skip
        yield from chosen(rng, prompt, right, pool, "formats")


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def instructions(rng: random.Random) -> Iterator[Probe]:
    """A rule that a program can check, and four replies of which one keeps it."""
    while True:
        place, thing, colour = rng.choice(PLACES), rng.choice(THINGS), rng.choice(COLOURS)
        n, letter = rng.randint(2, 5), rng.choice(["b", "d", "f", "m", "s", place[0], thing[0]])
        rules: list[tuple[str, Callable[[str], bool]]] = [
            (f"in exactly {n} words", lambda text, n=n: len(text.split()) == n),
            ("in capital letters only", str.isupper),
            ("without any capital letter", str.islower),
            ("as a question", lambda text: text.endswith("?")),
            (f"and use the word {colour}", lambda text, colour=colour: colour in text.lower().split()),
            (f"without the letter {letter}", lambda text, letter=letter: letter not in text.lower()),
            (
                f"and begin with the letter {letter.upper()}",
                lambda text, letter=letter: text.lower().startswith(letter),
            ),
            ("and end with an exclamation mark", lambda text: text.endswith("!")),
        ]
        other = rng.choice([c for c in COLOURS if c != colour])
        replies = [
            f"The {thing} is in the {place}.", f"The {colour} {thing} is there.", f"Look in the {place}!", f"Is it in the {place}?",
            f"it is in the {place}.", f"IN THE {place.upper()}.", f"{thing.capitalize()} and {place}.", f"In the {other} {place}, I think.",
            f"It stands near the {colour} {rng.choice(THINGS)} in the {place}.", f"{place.capitalize()}, {thing}.", f"a {other} {thing}",
            f"{rng.choice(NAMES)} has the {thing}.",
        ]  # fmt: skip
        rule, keeps = rng.choice(rules)
        # The good one keeps the rule and says where it is; a bad one breaks the rule.
        good = [text for text in replies if keeps(text) and place in text.lower()]
        bad = [text for text in replies if not keeps(text)]
        if good and len(bad) >= 3:
            prompt = f"Say where the {thing} is, {rule}."
            yield from chosen(rng, prompt, rng.choice(good), bad, "instructions")


def order(rng: random.Random) -> Iterator[Probe]:
    while True:
        people = rng.sample(NAMES, 4)
        more, less, most, least = rng.choice(
            [
                ("taller", "shorter", "tallest", "shortest"),
                ("older", "younger", "oldest", "youngest"),
                ("faster", "slower", "fastest", "slowest"),
            ]
        )
        said = [
            f"{a} is {more} than {b}." if rng.random() < 0.6 else f"{b} is {less} than {a}."
            for a, b in zip(people, people[1:], strict=False)
        ]
        rng.shuffle(said)
        which, answer = rng.choice([(most, people[0]), (least, people[-1])])
        yield from chosen(rng, f"{' '.join(said)} Who is the {which}?", answer, people, "order")


def reading(rng: random.Random) -> Iterator[Probe]:
    while True:
        people, things, colours, places = (rng.sample(pool, 3) for pool in (NAMES, THINGS, COLOURS, PLACES))
        facts = [f"{p} put a {c} {t} in the {w}." for p, t, c, w in zip(people, things, colours, places, strict=True)]
        i = rng.randrange(3)
        question, answer, pool = rng.choice([
            (f"What colour is the {things[i]}?", colours[i], [*colours, *rng.sample(COLOURS, 3)]),
            (f"Where is the {things[i]}?", f"In the {places[i]}.", [f"In the {w}." for w in [*places, *rng.sample(PLACES, 3)]]),
            (f"Who had the {colours[i]} {things[i]}?", people[i], [*people, *rng.sample(NAMES, 3)]),
            (f"What did {people[i]} put in the {places[i]}?", f"A {things[i]}.", [f"A {t}." for t in [*things, *rng.sample(THINGS, 3)]]),
        ])  # fmt: skip
        yield from chosen(rng, f"{' '.join(facts)} {question}", answer, pool, "reading")


def unknown(rng: random.Random) -> Iterator[Probe]:
    """What nobody can know: the honest reply is as long as the invented ones, so that none is likelier for its length."""
    while True:
        land, who, n = rng.choice(NOWHERE), rng.choice(NOBODY), rng.randint(1, 12)
        town, year, number = rng.choice(NOBODY).split()[1], rng.randint(1700, 1999), rng.randint(2, 90)
        question, honest, made_up = rng.choice([
            (f"What is the capital of {land}?", f"I do not know of a country called {land}.",
             [f"The capital of {land} is the city of {town}.", f"It is {town}, on the great northern river.", f"{land} has had {town} as its capital since {year}."]),
            (f"In which year did {who} write book {n}?", f"I do not know of a writer called {who}.",
             [f"{who} wrote it in the spring of {year}.", f"It was written in {year}, in a small house by the sea.", f"Book {n} by {who} came out in {year}."]),
            (f"How many people lived in {land} in {year}?", "I know of no such country, so I cannot say.",
             [f"About {number} million people lived there then.", f"In {year}, {land} had {number} million people.", f"It was {number} thousand, most of them farmers."]),
            (f"What did {who} say to you on day {n} of our talk?", "I cannot know that: nothing of it was told to me.",
             [f"{who} said that the {rng.choice(THINGS)} was in the {rng.choice(PLACES)}.", f"They told me to meet {town} in {year}.", f"The words were: bring the {rng.choice(COLOURS)} {rng.choice(THINGS)}."]),
        ])  # fmt: skip
        yield from chosen(rng, question, honest, made_up, "unknown")


def asked(prompt: str, answer: str, capability: str, measure: str, choices: tuple[str, ...] = ()) -> Probe:
    return Probe(prompt, answer, capability, "held-out", measure, choices)


def chosen(rng: random.Random, prompt: str, right: str, pool, capability: str) -> Iterator[Probe]:
    """One probe of four choices, in an order of their own; none where the pool has too few that are wrong."""
    wrong = sorted({str(one).strip() for one in pool} - {right})
    if len(wrong) >= 3:
        choices = [right, *rng.sample(wrong, 3)]
        rng.shuffle(choices)
        yield asked(prompt, right, capability, "choice", tuple(choices))


CAPABILITIES = (arithmetic, calendar, code, formats, instructions, order, reading, unknown)


def starter() -> list[Probe]:
    """``EACH`` probes of each capability, no question twice."""
    found: dict[str, Probe] = {}
    for make in CAPABILITIES:
        own: dict[str, Probe] = {}
        for probe in make(random.Random(f"starter 1 {make.__name__}")):
            own.setdefault(probe.prompt, probe)
            if len(own) == EACH:
                break
        found |= own
    return list(found.values())


if __name__ == "__main__":
    print(save_probes(starter(), STARTER))
