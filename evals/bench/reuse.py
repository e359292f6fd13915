"""What saved state gains and costs: the same prompts read in full and continued from the disk, in turn."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from assistant.llm.chat_llama import ChatLlama
from assistant.prompts import RULES_KEY, SECTION_KEY, SYSTEM, section_prompt
from evals.bench.material import Chapter
from evals.bench.states import forget, without_state


@dataclass(slots=True)
class Reuse:
    """One value a prompt.

    Attributes:
        full_s: to the first token, nothing computed before.
        warm_s: the same prompt, its section's state on disk.
        held_s: another question about that section, whose state is still in memory.
        prompt_tokens: of the prompt.
        fresh_tokens: of the prompt, how many the warm one had to compute.
        read_s: to compute and save the state of the section.
        section_tokens: how many that were.
        state_bytes: of all saved states; each holds the rules too.
    """

    full_s: list[float] = field(default_factory=list)
    warm_s: list[float] = field(default_factory=list)
    held_s: list[float] = field(default_factory=list)
    prompt_tokens: list[int] = field(default_factory=list)
    fresh_tokens: list[int] = field(default_factory=list)
    read_s: list[float] = field(default_factory=list)
    section_tokens: list[int] = field(default_factory=list)
    state_bytes: int = 0

    @property
    def ratios(self) -> list[float]:
        """Full over warm, prompt by prompt."""
        return [full / warm for full, warm in zip(self.full_s, self.warm_s, strict=True)]


def reuse(model: ChatLlama, chapters: Sequence[Chapter]) -> Reuse:
    """Measure; nobody else may use the model, and its folder of states must be empty.

    Raises:
        RuntimeError: a prompt was not computed in full, or not continued, when it should have been.
    """
    figures = Reuse()
    rules = [SystemMessage([{"type": "text", "text": SYSTEM, "cache_key": RULES_KEY}])]
    model.compute_ahead(rules, threading.Event())  # every state begins with it
    shared = len(model.prompt_tokens(rules))
    for number, chapter in enumerate(chapters):
        section = section_prompt(chapter.id, chapter.passages)
        started = perf_counter()
        model.compute_ahead([section], threading.Event())
        figures.read_s.append(perf_counter() - started)
        figures.section_tokens.append(len(model.prompt_tokens([section])) - shared)
        messages = [section, HumanMessage(f"What does the course say about {chapter.subject}?")]
        for full in (True, False) if number % 2 else (False, True):
            if full:
                _add_full(model, messages, figures)
            else:
                _add_warm(model, messages, figures)
        forget(model)
        first_token(model, messages)
        figures.held_s.append(first_token(model, [section, HumanMessage(f"Why does {chapter.subject} matter?")])[0])
    states = model.saved_states.saved() if model.saved_states else []
    figures.state_bytes = sum(state.bytes for state in states if state.label.startswith(SECTION_KEY))
    return figures


def _add_full(model: ChatLlama, messages: Sequence[BaseMessage], figures: Reuse) -> None:
    with without_state(model):
        seconds, tokens, cached = first_token(model, messages)
    if cached:
        raise RuntimeError(f"{cached} tokens of a prompt that was to be read in full had been computed before.")
    figures.full_s.append(seconds)
    figures.prompt_tokens.append(tokens)


def _add_warm(model: ChatLlama, messages: Sequence[BaseMessage], figures: Reuse) -> None:
    forget(model)
    seconds, tokens, cached = first_token(model, messages)
    if not cached:
        raise RuntimeError("The state of a section was saved, but not found again.")
    figures.warm_s.append(seconds)
    figures.fresh_tokens.append(tokens - cached)


def first_token(model: ChatLlama, messages: Sequence[BaseMessage]) -> tuple[float, int, int]:
    """Seconds to the first token of the answer, tokens of the prompt, and how many of them were not computed."""
    started = perf_counter()
    usage = model.invoke(list(messages), max_tokens=1).usage_metadata
    seconds = perf_counter() - started
    if usage is None:
        raise RuntimeError("The model has not said what it read.")
    return seconds, usage["input_tokens"], usage.get("input_token_details", {}).get("cache_read", 0)
