"""What drafts gain: the same answers written with and without them, in turn, where they quote and where they do not."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

from langchain_core.messages import BaseMessage, HumanMessage

from assistant.llm.chat_llama import ChatLlama
from assistant.prompts import section_prompt
from evals.bench.material import Chapter
from evals.bench.states import settle

ANSWER = 48  # tokens
_LEAST = 8  # tokens; shorter answers have no rate worth comparing
_ASKED = {
    "quoting": 'Quote word for word what the text says from "{opening}" on.',
    "other": "Leave the text aside. Write a story of eighty words about a lighthouse keeper and {subject}.",
}


@dataclass(slots=True)
class Drafting:
    """One value a question, for one kind of question.

    Attributes:
        on, off: tokens a second with and without drafts.
        same: how many answers were the same with and without; ties may fall otherwise.
    """

    on: list[float] = field(default_factory=list)
    off: list[float] = field(default_factory=list)
    same: int = 0

    @property
    def ratios(self) -> list[float]:
        """With over without, question by question."""
        return [on / off for on, off in zip(self.on, self.off, strict=True)]


def drafting(model: ChatLlama, chapters: Sequence[Chapter]) -> dict[str, Drafting]:
    """Measure, by kind of question; nobody else may use the model, whose setting of drafts is as before in the end."""
    figures = {kind: Drafting() for kind in _ASKED}
    before = model.engine
    try:
        for number, chapter in enumerate(chapters):
            middle = chapter.openings[len(chapter.passages) // 2]
            for kind, question in _ASKED.items():
                asked = HumanMessage(question.format(subject=chapter.subject, opening=middle))
                written: dict[bool, tuple[str, float | None]] = {}
                for drafts in (True, False) if number % 2 else (False, True):
                    model.engine = before.model_copy(update={"drafts": drafts})
                    written[drafts] = _write(model, [section_prompt(chapter.id, chapter.passages), asked])
                (text_on, on), (text_off, off) = written[True], written[False]
                if on and off:
                    figures[kind].on.append(on)
                    figures[kind].off.append(off)
                    figures[kind].same += text_on == text_off
    finally:
        model.engine = before
    return figures


def _write(model: ChatLlama, messages: Sequence[BaseMessage]) -> tuple[str, float | None]:
    """An answer and its tokens a second after the first one; None if it is too short."""
    text, times, written = "", [], 0
    for chunk in model.stream(list(messages), max_tokens=ANSWER):
        if chunk.content:
            text += str(chunk.content)
            times.append(perf_counter())
        if usage := getattr(chunk, "usage_metadata", None):
            written = usage["output_tokens"]
    settle(model)
    return text, (written - 1) / (times[-1] - times[0]) if written >= _LEAST else None
