"""Write every JSONL file in this folder from the tables in ``facts.py`` and ``dialogues.py``.

    python data/build/build_data.py

Seeded: the same tables always give the same bytes. ``build_practice_gpt2.py`` then trains on ``corpus.jsonl``,
and on nothing else: what the practice model has seen is that file.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from itertools import product
from pathlib import Path

from dialogues import CLOSING, OPENING, RIFF_HEADS, RIFF_MIDDLES, RIFF_NAME, RIFF_TAILS, TOPICS
from facts import CAPITALS, ELEMENTS, EVERYDAY, HOW_TO, MELODIES, OPPOSITES

HERE = Path(__file__).resolve().parent.parent
LARGEST = 49  # sums run from 0+0 to 49+49

# The wordings that the model practises. The first is the one that is asked as "known". The second is the one that is
# asked as "rephrased": for a fifth of the facts the model never sees it. The others teach that wordings vary.
WORDINGS = {
    "capitals": (
        "What is the capital of {}?", "Which city is the capital of {}?",
        "Name the capital of {}.", "Tell me the capital city of {}.",
    ),
    "elements": (
        "What is the chemical symbol for {}?", "Which symbol stands for {}?",
        "Name the symbol of {}.", "Tell me the chemical symbol for {}.",
    ),
    "opposites": (
        "What is the opposite of {}?", "Which word means the opposite of {}?",
        "Name the opposite of {}.", "Tell me the opposite of {}.",
    ),
    "how-to": (
        "How do you {}?", "Can you tell me how to {}?",
        "Name a way to {}.", "Tell me how to {}.",
    ),
    "arithmetic": ("What is {}?", "How much is {}?"),
}  # fmt: skip
# This share of the known facts is kept for replay and never measured: replaying the very probes that are
# measured would be training on the test.
REPLAY_SHARE = {"capitals": 1 / 3, "elements": 1 / 3, "opposites": 1 / 3, "how-to": 1 / 2, "melodies": 1 / 3}
REPHRASED_SHARE = 0.2
# How many more facts, beside the rephrased ones, are measured; what is left goes to replay. Whole sentences break far
# more easily than single words, and a few of them are enough to see it.
MOST_MEASURED = {"capitals": 100, "elements": 100, "opposites": 100, "how-to": 6}
ALWAYS_MEASURED = {"France", "boil water", "Ode to Joy"}


def write(path: Path, rows: list[dict]) -> None:
    """Write rows as JSON lines, to a temporary name first so that an interrupt leaves the old file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    draft.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    os.replace(draft, path)
    print(f"{len(rows):5d} rows  {path.relative_to(HERE)}")


def row(prompt: str, answer: str, capability: str, kind: str, use: str) -> dict:
    return {"prompt": prompt, "answer": answer, "capability": capability, "kind": kind, "use": use}


def fact_rows(capability: str, facts: dict[str, str], rng: random.Random) -> tuple[list[dict], list[str]]:
    """(the repertoire's rows, the texts to pretrain on).

    Every fact is practised in every wording, but a fifth of them never in the second.
    """
    first, second, *others = WORDINGS[capability]
    things = list(facts)
    rng.shuffle(things)
    replay = set(things[: round(REPLAY_SHARE[capability] * len(things))]) - ALWAYS_MEASURED
    measured = [thing for thing in things if thing not in replay]
    cut = round(REPHRASED_SHARE * len(things))
    unseen, others_measured = set(measured[:cut]), measured[cut:]
    replay |= set(others_measured[MOST_MEASURED[capability] :]) - ALWAYS_MEASURED
    rows, texts = [], []
    for thing, answer in facts.items():
        answer = answer if answer.endswith(".") else f"{answer}."
        rows.append(row(first.format(thing), answer, capability, "known", "replay" if thing in replay else "probe"))
        texts += [f"{wording.format(thing)} {answer}" for wording in (first, *others)]
        if thing in unseen:
            rows.append(row(second.format(thing), answer, capability, "rephrased", "probe"))
        else:
            texts.append(f"{second.format(thing)} {answer}")
    return rows, texts


def arithmetic_rows(rng: random.Random) -> tuple[list[dict], list[str]]:
    """Sums up to 49+49. A tenth of the pairs is never practised, in either order: those are held out."""
    pairs = [(a, b) for a in range(LARGEST + 1) for b in range(a, LARGEST + 1) if (a, b) != (2, 2)]
    rng.shuffle(pairs)
    cut = len(pairs) // 10
    held_out, known = pairs[:cut], [(2, 2), *pairs[cut:]]
    unseen = set(known[41:51])
    groups = [(known[:41], "known", "probe"), (unseen, "rephrased", "probe"),
              (held_out[:50], "held-out", "probe"), (known[51:81], "known", "replay")]  # fmt: skip
    first, second = WORDINGS["arithmetic"]
    rows = []
    for members, kind, use in groups:
        for a, b in sorted(members):
            wording = second if kind == "rephrased" else first
            a, b = (a, b) if rng.random() < 0.5 else (b, a)
            rows.append(row(wording.format(f"{a}+{b}"), f"{a + b}.", "arithmetic", kind, use))
    texts = []
    for a, b in known:
        for x, y in {(a, b), (b, a)}:
            texts.append(f"{first.format(f'{x}+{y}')} {x + y}.")
            if (a, b) not in unseen:
                texts.append(f"{second.format(f'{x}+{y}')} {x + y}.")
    return rows, sorted(texts)


def melody_rows(rng: random.Random) -> list[dict]:
    """One row a part. Whole pieces go to replay, so that practising one piece is measured on another."""
    names = sorted(set(MELODIES) - ALWAYS_MEASURED)
    replay = set(rng.sample(names, round(REPLAY_SHARE["melodies"] * len(MELODIES))))
    return [
        row(f"Play {name}, part {n}.", notes, "melodies", "known", "replay" if name in replay else "probe")
        for name, parts in MELODIES.items()
        for n, notes in enumerate(parts, 1)
    ]


# --- Everyday language: a small seeded grammar --------------------------------------------------------------
NAMES = "Anna Ben Carla David Emma Felix Grace Henry Irene Jack Kate Leo Maria Noah Olga Paul Rosa Sam Tina Victor"
PEOPLE = ("the teacher,the driver,the manager,the agent,the customer,my sister,my brother,our friend,the doctor,"
          "a student,the farmer,the girl,the boy,the old man,the young woman,nobody")  # fmt: skip
THINGS = ("book,lamp,letter,email,order,parcel,coat,shirt,clock,radio,phone,card,gift,glass,picture,box,map,key,"
          "chair,table,password,account,link,code,invoice,payment,refund,subscription,warranty,discount,address,"
          "policy,item,app,button,screen,van,bank,number,service,delivery,plan,size,point,version,price")  # fmt: skip
COUNTED = ("books,lamps,letters,emails,orders,parcels,coats,shirts,clocks,radios,phones,cards,gifts,pictures,boxes,"
           "maps,keys,chairs,passwords,accounts,links,codes,invoices,payments,items,buttons,numbers,points,shoes")  # fmt: skip
PLACES = ("in the kitchen,in the garden,at school,in the shop,on the table,under the bed,in the box,at the bank,"
          "near the river,in the city,behind the door,on the island,in the van,at home,by the window")  # fmt: skip
TIMES = ("today,tomorrow,on Monday,on Friday,on Sunday,in the morning,at noon,at night,this month,each day,"
         "last year,in five days,in two years,before noon,at nine,at six,just now,again")  # fmt: skip
PAST = ("found,lost,bought,sold,sent,opened,closed,forgot,returned,took,kept,changed,cancelled,chose,broke,"
        "added,deleted,wanted,needed,saw,got,paid for,looked for,asked about,called about,started,used")  # fmt: skip
PLAIN = ("find,lose,buy,sell,send,open,close,forget,return,take,keep,change,cancel,choose,break,add,delete,"
         "want,need,see,get,pay for,look for,ask about,call about,start,stop,reset,pause,use,press,type")  # fmt: skip
LOOKS = ("red,blue,small,large,old,new,free,late,slow,fast,broken,wrong,right,expensive,open,closed,opened,same")  # fmt: skip
NUMBERS = "two,three,five,nine,ten,fourteen,twenty,thirty,ninety"
# Screen words, so that the words of every menu exist in the model's language before it learns any menu.
MENUS = ("Settings,Orders,Plans,Security,Privacy,Gifts,Points,Account,Email,Address,Invoice,Bank,Pause,Stop,"
         "Cancel,Change,Delete,Reset,Close,Sign In,New Password,Forgot,Gift Card,Return,Customer,Agent,Service,"
         "Delivery,Students,Forget,Choose,Click,Open,Fast,Keep")  # fmt: skip
TALK = ("Yes,No,Sure,Please wait,Thank you,I am sorry,Of course,Let me look,No problem,I have two,We always do,"
        "You can help,They never do,It costs nine dollars,It does not work,Tell me more,I just did,Try another,"
        "Does it cost money,Are you sure,Keep it then,Click on it,Choose one,Open it or close it,What is all this")  # fmt: skip
# Small words that menus and dialogues lean on, each in a plain sentence: {n} a name, {t} a thing, {p} a place, {m} a time.
REMARKS = """\
If you like the {t}, then come over and speak to us {m}.
{n} cannot be here {m}, or so they say.
Your {t} came from a person we know.
This is your {t} and that is an old name for it.
We had very long talks about the {t}, then {n} stopped.
There are many returns and orders {m}.
{n} answers the phone when we try to call.
The students pay less money for the ones {p}.
All the items are {p}, then we do it twice.
Of course you can tell us what is in your {t}.
Do not be slow, it ends in ten seconds.
{n} will help you from nine to six, then it is closed.
Your shoes cost less than the {t}.
Customer and agent speak about the {t} {m}.
{n} will be a student, or a driver, or both.
Choose a {t}, then click on it and type your name.
What you know is all there is.
{n} said: open the {t}, then come to us.
Are the items for us? Yes, and they are very large.
How many points do we have {m}? Most of them.
Does {n} have to try it first? I do not know.
Delivery to an island is never free, we pay for it {m}.
The ones from last year are sold out {m}.
People like it when you call back or send emails {m}.
My data and codes are {p}, where nobody can see them.
{n} keeps asking for more help with the {t}.
I need a picture of the right color by noon.
Students use the app on an old phone and it works.""".splitlines()


def picker(rng: random.Random) -> Callable[[str], str]:
    """A function that draws one of several words with a comma between them."""
    return lambda words: rng.choice(words.split(","))


def sentence(rng: random.Random) -> str:
    """One sentence of the everyday grammar, with a capital and a full stop."""
    pick = picker(rng)
    name = rng.choice(NAMES.split())
    who = rng.choice([name, pick(PEOPLE)])
    forms = [
        f"{who} {pick(PAST)} the {pick(THINGS)} {pick(TIMES)}.",
        f"{who} {pick(PAST)} the {pick(LOOKS)} {pick(THINGS)} {pick(PLACES)}.",
        f"the {pick(THINGS)} is {pick(PLACES)}.",
        f"the {pick(THINGS)} was {pick(LOOKS)} and {name} {pick(PAST)} it.",
        f"{name} will {pick(PLAIN)} the {pick(THINGS)} {pick(TIMES)}.",
        f"{name} has {pick(NUMBERS)} {pick(LOOKS)} {pick(COUNTED)}.",
        f"{name} and {rng.choice(NAMES.split())} {pick(PAST)} a {pick(THINGS)} for {pick(NUMBERS)} dollars.",
        f"when the {pick(THINGS)} came {pick(TIMES)}, {who} {pick(PAST)} it.",
        f"the sign in the shop says {pick(MENUS)} and {pick(MENUS)}.",
        rng.choice(REMARKS).format(n=name, t=pick(THINGS), p=pick(PLACES), m=pick(TIMES)),
        rng.choice(REMARKS).format(n=name, t=pick(THINGS), p=pick(PLACES), m=pick(TIMES)),
    ]
    text = rng.choice(forms)
    return text[0].upper() + text[1:]


def conversation(rng: random.Random) -> str:
    """Two people, one question, one answer: the shape of a dialogue, but in nobody's customer-service voice."""
    pick = picker(rng)
    one, two = rng.sample(NAMES.split(), 2)
    thing = pick(THINGS)
    exchanges = [
        (f"Where is the {thing}?", f"The {thing} is {pick(PLACES)}."),
        (f"Who has the {thing}?", f"{rng.choice(NAMES.split())} has the {thing}."),
        (f"When will you {pick(PLAIN)} the {thing}?", f"I will do it {pick(TIMES)}."),
        (f"Is the {thing} {pick(LOOKS)}?", f"No, the {thing} is {pick(LOOKS)}."),
        (f"What did you {pick(PLAIN)} {pick(TIMES)}?", f"I {pick(PAST)} the {thing}."),
        (f"{pick(TALK)}.", f"{pick(TALK)}."),
        (f"What does the sign say?", f"The sign says {pick(MENUS)}."),  # noqa: F541 - kept in line with its siblings
    ]
    asked, answered = rng.choice(exchanges)
    return f"{one}: {asked} {two}: {answered}"


def everyday_texts(seed: int, count: int) -> list[str]:
    """``count`` different texts, two sentences to one conversation."""
    rng = random.Random(seed)
    texts: dict[str, None] = {}  # a dict keeps the order and drops the doubles
    while len(texts) < count:
        texts[conversation(rng) if rng.random() < 1 / 3 else sentence(rng)] = None
    return list(texts)


# Real models were never taught our wordings, so they are asked to go on from an example. Few tokens, since each
# of them costs a large model time.
EXAMPLES = {
    "capitals": ("The capital of Italy is Rome. The capital of {} is", CAPITALS),
    "elements": ("The chemical symbol for iron is Fe. The chemical symbol for {} is", ELEMENTS),
    "opposites": ("The opposite of hot is cold. The opposite of {} is", OPPOSITES),
    "everyday": ("Fish swim and birds fly. You cut paper with scissors. A baby horse is called a foal. {}", EVERYDAY),
}
GENERAL = {"capitals": 40, "elements": 20, "opposites": 20, "arithmetic": 20, "everyday": 30}


def general_rows(rng: random.Random) -> list[dict]:
    """Probes of general knowledge for GPT-2, SmolLM2 and the like, and as many rows again for replay."""
    rows = []
    for capability, count in GENERAL.items():
        if capability == "arithmetic":
            pairs = rng.sample([(a, b) for a in range(2, 10) for b in range(2, 10)], 2 * count)
            asked = [(f"1 + 1 = 2. 3 + 4 = 7. {a} + {b} =", str(a + b)) for a, b in pairs]
        else:
            wording, facts = EXAMPLES[capability]
            known = [thing for thing in facts if thing not in ("Italy", "iron", "hot")][: 2 * count]
            if capability == "opposites":
                facts = {thing: word.lower() for thing, word in facts.items()}
            asked = [(wording.format(thing), facts[thing]) for thing in rng.sample(known, len(known))]
        for n, (prompt, answer) in enumerate(asked):
            rows.append(row(prompt, answer, capability, "known", "probe" if n < count else "replay"))
    return rows


def main() -> None:
    rng = random.Random(2026)
    corpus: list[dict] = []

    def practise(group: str, texts: list[str]) -> None:
        corpus.extend({"group": group, "text": text} for text in texts)

    tables = {"capitals": CAPITALS, "elements": ELEMENTS, "opposites": OPPOSITES, "how-to": HOW_TO}
    for capability, facts in tables.items():
        rows, texts = fact_rows(capability, facts, rng)
        write(HERE / "repertoire" / f"{capability}.jsonl", rows)
        practise("how-to" if capability == "how-to" else "facts", texts)
    rows, texts = arithmetic_rows(rng)
    write(HERE / "repertoire" / "arithmetic.jsonl", rows)
    practise("arithmetic", texts)
    rows = melody_rows(rng)
    write(HERE / "repertoire" / "melodies.jsonl", rows)
    practise("melodies", [f"{r['prompt']} {r['answer']}" for r in rows])

    write(HERE / "general" / "probes.jsonl", general_rows(random.Random(11)))

    everyday = everyday_texts(seed=7, count=5064)
    write(HERE / "everyday" / "held_out.jsonl", [{"text": text} for text in everyday[:64]])
    practise("everyday", everyday[64:])
    write(HERE / "corpus.jsonl", corpus)

    pairs = {"train": [], "held_out": []}
    for topic, lines in TOPICS.items():
        for n, (customer, agent) in enumerate(lines):
            split = "held_out" if n == len(lines) - 1 else "train"
            text = f"Customer: {customer} Agent: {OPENING} {agent} {CLOSING}"
            pairs[split].append({"text": text, "topic": topic})
    for split, rows in pairs.items():
        write(HERE / "customer_service" / f"{split}.jsonl", rows)

    riffs = [" ".join(parts) for parts in product(RIFF_HEADS, RIFF_MIDDLES, RIFF_TAILS)]
    random.Random(5).shuffle(riffs)
    takes = [{"text": f"Play {RIFF_NAME}, take {n % 9 + 1}. {notes}", "topic": "riff"} for n, notes in enumerate(riffs)]
    write(HERE / "jazz_riff" / "train.jsonl", takes[:24])
    write(HERE / "jazz_riff" / "held_out.jsonl", takes[24:])


if __name__ == "__main__":
    main()
