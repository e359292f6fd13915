"""Events of one turn -> one message of the page.

The state of the turn is the message's metadata; the custom elements Evidence.jsx and Afterword.jsx draw it. They are sent
once and read the message afterwards, because Chainlit closes an open side panel whenever an element changes.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any

import chainlit as cl

from assistant.events import Done, Dropped, Evidence, Guarded, Notice, Refusal, Sentence, TurnEvent
from assistant.web.marking import Span, harmless_markdown, marked, safe_markdown, surroundings
from knowledge.passage import Citation, Document, Passage

_REFUSAL_TITLES = {
    "not_covered": "Not in the course",
    "unsupported": "No supported answer",
    "underspecified": "Which topic do you mean?",
}
_OTHER_REFUSAL = "Not answered"
_NO_BREAK = "\u2060"  # a number must not begin a line
_FENCE = re.compile(r"\s*(```|~~~)")
_ENDS_IN_BLOCK = re.compile(r"(```|~~~|\|)\s*\Z")


def element(name: str, **props: Any) -> cl.CustomElement:
    """One of public/elements; the props travel with it, so the URL that Chainlit insists on only avoids a file on disk."""
    return cl.CustomElement(name=name, props=props, url=f"/public/elements/{name}.jsx")


async def open_panel(title: str, content: cl.CustomElement) -> None:
    """Show an element in the side panel.

    `cl.ElementSidebar` would also add it to the page's elements, which closes the panel again.
    """
    await cl.context.emitter.emit("set_sidebar_title", title)
    await cl.context.emitter.emit("set_sidebar_elements", {"elements": [content.to_dict()], "key": content.id})


class LiveMessage:
    """A message whose elements follow its metadata."""

    def __init__(self, *elements: str, **metadata: Any) -> None:
        self.message = cl.Message(content="", metadata=metadata)
        self._elements = elements

    async def send(self) -> None:
        """Put it on the page with its elements."""
        await self.message.send()
        for name in self._elements:
            await element(name, message=self.message.id).send(for_id=self.message.id)

    async def change(self, content: str | None = None, *, streaming: bool = True, **metadata: Any) -> None:
        """Draw the message anew.

        Args:
            content: the new text; None keeps it.
            streaming: whether more follows; shows a cursor after the text.
            metadata: what changed.
        """
        self.message.content = self.message.content if content is None else content
        self.message.metadata = {**(self.message.metadata or {}), **metadata}
        self.message.streaming = streaming
        await cl.context.emitter.update_step(self.message.to_dict())

    async def fail(self, problem: str, remedy: str = "") -> None:
        """Become an error that says what is wrong and what to do."""
        self.message.is_error = True
        await self.change(f"**{problem}**\n\n{remedy}".strip(), streaming=False, phase="failed")


class TurnMessage(LiveMessage):
    """The answer to one question: evidence, sentences with citations, what was left out or why there is no answer.

    Args:
        phase: "loading" while there is no model yet, "searching" otherwise.
    """

    def __init__(self, phase: str) -> None:
        super().__init__("Evidence", "Afterword", phase=phase)
        self._documents: dict[str, Document | None] = {}
        self._quotes: dict[str, dict[str, Any]] = {}
        self._dropped: list[dict[str, str]] = []
        self._warnings: list[str] = []

    async def show(self, event: TurnEvent, document: Callable[[str], Document | None]) -> None:
        """Draw one event; `document` finds the document of an id and is called in a thread."""
        self._document = document
        match event:
            case Notice():
                self._warnings.append(event.text)
                await self.change(warnings=self._warnings)
            case Guarded():
                self._warnings += [warning for warning in event.warnings if warning not in self._warnings]
                if self._warnings:
                    await self.change(warnings=self._warnings)
            case Evidence():
                await self._show_evidence(event)
            case Sentence():
                text = self.message.content + self._lead(event) + await self._with_citations(event)
                await self.change(text, quotes=self._quotes, phase="writing")
            case Dropped():
                self._dropped.append({"text": safe_markdown(harmless_markdown(event.text)), "reason": event.reason})
            case Refusal():
                title = _REFUSAL_TITLES.get(event.rule, _OTHER_REFUSAL)
                suggestions = list(event.suggestions)
                await self.change(f"**{title}**\n\n{event.reason}", suggestions=suggestions, refused=event.rule)
            case Done():
                await self._show_end(event)

    async def _show_evidence(self, event: Evidence) -> None:
        passages = [ranked.passage for ranked in event.passages]
        # The list first: the reader sees what was found before the documents are read for the panel's context.
        places = [_place(n, p) for n, p in enumerate(passages, 1)]
        await self.change(
            phase="reading", passages=places, foremost=event.foremost, cold=event.cold, leftOut=list(event.left_out)
        )
        texts = [await self._in_context(p, [(p.start, p.end)]) for p in passages]
        await self.change(passages=[place | {"text": text} for place, text in zip(places, texts, strict=True)])

    async def _show_end(self, done: Done) -> None:
        content = self.message.content
        if done.stopped and not content:
            content = "*Stopped before the first sentence.*"
        seconds = (done.timings.get("total_ms") or 0.0) / 1000
        end = {"stopped": done.stopped, "model": done.model, "seconds": round(seconds, 1), "dropped": self._dropped}
        await self.change(content, streaming=False, phase="done", **end)

    def _lead(self, sentence: Sentence) -> str:
        """A fence within a line is none: what it should enclose would be drawn."""
        inside = self.message.content and not (self.message.content + sentence.lead).endswith("\n")
        return f"{sentence.lead}\n\n" if inside and _FENCE.match(sentence.text) else sentence.lead

    async def _with_citations(self, sentence: Sentence) -> str:
        links = "".join([await self._link(number, group) for number, group in _by_number(sentence.citations).items()])
        text = safe_markdown(sentence.text)
        return f"{text}\n\n{links}\n" if _ENDS_IN_BLOCK.search(text) else f"{text}{_NO_BREAK}{links}"

    async def _link(self, number: int, citations: Sequence[Citation]) -> str:
        passage = citations[0].passage
        spans = [(citation.start, citation.end) for citation in citations]
        key = f"{number}-{'-'.join(str(start) for start, _ in spans)}"
        if key not in self._quotes:
            self._quotes[key] = {"number": number, "text": await self._in_context(passage, spans)}
        title = re.sub(r"[\\\"\[\]()<>`]", "", _label(passage))
        return f'[{number}](#quote-{key} "{title}")'

    async def _in_context(self, passage: Passage, spans: Sequence[Span]) -> str:
        if passage.document_id not in self._documents:
            self._documents[passage.document_id] = await asyncio.to_thread(self._document, passage.document_id)
        document = self._documents[passage.document_id]
        if document is None:  # removed while the answer was written
            return marked(passage.text, [(start - passage.start, end - passage.start) for start, end in spans])
        return marked(document.text, spans, surroundings(document, passage))


def _by_number(citations: Sequence[Citation]) -> dict[int, list[Citation]]:
    groups: dict[int, list[Citation]] = {}
    for citation in citations:
        groups.setdefault(citation.number, []).append(citation)
    return groups


def _place(number: int, passage: Passage) -> dict[str, Any]:
    heading = [name for name in passage.heading if name != passage.title]
    where = {"page": passage.page, "cell": passage.cell, "source": passage.source}
    return {"number": number, "title": passage.title, "heading": heading, **where}


def _label(passage: Passage) -> str:
    parts = [passage.title]
    if passage.heading and passage.heading[-1] != passage.title:
        parts.append(passage.heading[-1])
    if passage.page is not None:
        parts.append(f"page {passage.page}")
    return ", ".join(parts)
