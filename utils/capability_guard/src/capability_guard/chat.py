"""How a question is put to a chat model: through the tokenizer's own template, with a system turn and variables if it needs them.

A template is a small program that comes with a model. It may refuse, be faulty, think before it answers or write today's
date; each of these is said in one sentence, or can be set here and is recorded with what was measured.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from capability_guard.jsonl import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TODAY = re.compile(r"""strftime_now\(\s*(['"])(.*?)\1\s*\)""")  # how templates ask for the day


@dataclass(frozen=True)
class Chat:
    """Ask through the chat template.

    system: a system turn before each question. variables: what the template may be told, as {"enable_thinking": False}.
    date: the day that the template takes for today, as "2026-11-28"; without it, the clock decides.

    >>> Chat(system="Answer in one word.").turns("What is 2+2?")[0]["role"]
    'system'
    """

    system: str | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    date: str | None = None

    def __post_init__(self) -> None:
        if self.date is not None:
            try:
                datetime.strptime(self.date, "%Y-%m-%d")
            except ValueError:
                raise DataError(f"The date is {self.date!r}; write it as 2026-11-28.") from None

    @classmethod
    def of(cls, chat: bool | Chat | None) -> Chat | None:
        """``True`` is a chat without a system turn or variables, ``False`` no chat at all.

        >>> Chat.of(True) == Chat(), Chat.of(False)
        (True, None)
        """
        return chat if isinstance(chat, Chat) else cls() if chat else None

    def turns(self, prompt: str) -> list[dict[str, str]]:
        """The conversation up to the question.

        >>> Chat().turns("What is 2+2?")
        [{'role': 'user', 'content': 'What is 2+2?'}]
        """
        first = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [*first, {"role": "user", "content": prompt}]

    def render(self, tokenizer: PreTrainedTokenizerBase, prompt: str) -> str:
        """What the model reads before it answers. Raises DataError, one sentence, where the template does not render it.

        >>> tokenizer.chat_template = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }} {% endfor %}[assistant]"
        >>> Chat().render(tokenizer, "What is 2+2?")
        '[user] What is 2+2? [assistant]'
        """
        text = self._rendered(tokenizer, self.turns(prompt), add_generation_prompt=True)
        for what, words in (("question", prompt), ("system turn", self.system)):
            if words and words.strip() not in text:
                raise DataError(
                    f"The chat template leaves the {what} out ({words.strip()[:40]!r}); it is made for turns of another kind."
                )
        if unknown := [name for name in self.variables if name not in tokenizer.get_chat_template()]:
            raise DataError(f"The chat template knows no variable {unknown[0]!r}; check its spelling.")
        return text

    def before_answer(self, tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str) -> str:
        """The white space that the template writes between the question's text and an answer, as in "[/INST] Paris."

        A model that was trained with the template says it, too. Where the template does not tell, there is none.

        >>> tokenizer.chat_template = "{% for m in messages %}{{ '> ' if m.role == 'user' else ' ' }}{{ m.content }}{% endfor %}"
        >>> Chat().before_answer(tokenizer, "What is 2+2?", "4.")
        ' '
        """
        asked, turns = self.render(tokenizer, prompt), self.turns(prompt)
        try:
            whole = self._rendered(tokenizer, [*turns, {"role": "assistant", "content": answer}])
        except DataError:  # it does not take a turn of the assistant's, which is its own affair
            return ""
        between, found, _ = whole[len(asked) :].partition(answer)
        return between if whole.startswith(asked) and found and not between.strip() else ""

    def _rendered(self, tokenizer: PreTrainedTokenizerBase, turns: list[dict[str, str]], **options: Any) -> str:
        if not tokenizer.chat_template:
            raise DataError("This tokenizer has no chat template; ask without chat, or give it one.")
        try:
            template = self._dated(tokenizer.get_chat_template())
            text = tokenizer.apply_chat_template(
                turns, chat_template=template, tokenize=False, **options, **self.variables
            )
        except DataError:
            raise
        except Exception as error:  # whatever a program that came with a model may raise
            said = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:160]
            hint = (
                "give one (--system)"
                if self.system is None and "system" in said.lower()
                else "see what it needs, or ask without chat"
            )
            raise DataError(
                f"The chat template does not take the question ({type(error).__name__}: {said}); {hint}."
            ) from error
        return text if isinstance(text, str) else text[0]

    def _dated(self, template: str) -> str:
        """The template with its day fixed. It is written into the text, since not every version lets a call be replaced."""
        if self.date is None:
            return template
        today = datetime.strptime(self.date, "%Y-%m-%d")
        dated, times = _TODAY.subn(lambda call: repr(today.strftime(call[2])), template)
        if not times:
            raise DataError(f"The date {self.date} was given, and the chat template writes none; leave it out.")
        return dated


# Where a model thinks, as one family or another writes it: the mark before, and the mark behind.
THINKING = (
    ("<think>", "</think>"), ("[THINK]", "[/THINK]"), ("<thinking>", "</thinking>"), ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"), ("<seed:think>", "</seed:think>"), ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"), ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
)  # fmt: skip
# The tokens that such marks are made of, where they are tokens of their own.
MARKS = tuple(
    dict.fromkeys(part for pair in THINKING for mark in pair for part in re.findall(r"<\|\w+\|>|^(?!<\|).+", mark))
)


def without_thinking(text: str, opened: str = "") -> str:
    """What a model says besides its thinking. opened: the mark that would end it, where the prompt ended inside a thinking block.

    >>> without_thinking("<think>2+2, so 4?</think> It is 4."), without_thinking("<think>2+2, so")
    (' It is 4.', '')
    >>> without_thinking("2+2, so 4?", opened="</think>"), without_thinking("4? Hm.</think> It is 5. <think>Or 4?", opened="</think>")
    ('', ' It is 5. ')
    """
    for begin, end in THINKING:
        if end in text:
            text = text.rpartition(end)[2]
        elif opened == end:
            return ""
        text = text.partition(begin)[0]
    return text


def still_thinking(prompt: str) -> str:
    """The mark that ends the thinking in which a rendered prompt leaves the model; "" if it leaves it in none.

    >>> still_thinking("user: 2+2? assistant: <think>"), still_thinking("user: 2+2? assistant: <think></think>")
    ('</think>', '')
    """
    return next((end for begin, end in THINKING if begin in prompt and end not in prompt.rpartition(begin)[2]), "")
