"""A runtime without weights for the tests of the page: real documents and events, a scripted chain, a fake history."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from assistant.events import Done, Dropped, Evidence, Exchange, Refusal, Sentence, Turn, TurnEvent
from assistant.settings import Settings
from knowledge.catalogue import SourceInfo
from knowledge.errors import CourseError
from knowledge.ingest import IngestReport, Progress, Skipped
from knowledge.passage import Block, Citation, Document, Passage, RankedPassage

REGULARISATION = """# Regularisation

Regularisation keeps a network from learning its training data by heart.

## Dropout

Dropout switches off randomly chosen units during training. Each unit is kept with a probability p, often 0.5 for hidden \
layers: the network cannot rely on any single unit. At test time all units are active.

```python
def dropout(x, p):
    mask = np.random.rand(*x.shape) < p
    return x * mask / p
```

- Dropout slows training by a factor of two to three.
- Dropout is not needed where batch normalisation is used, as a rule.

## Weight decay

Weight decay adds the squared length of the weights to the loss, $L' = L + \\lambda \\lVert w \\rVert^2$, so weights stay \
small. A run on a rented machine costs $5 to $10 an hour.

| Method | Acts on | Cost |
|---|---|---|
| Dropout | activations | slower training |
| Weight decay | weights | none |
| Early stopping | training time | a validation set |
"""
TRAINING = """# Training deep networks

Deep networks are trained by gradient descent on small batches.

## Early stopping

Early stopping ends training when the loss on the validation set has not fallen for several epochs.
"""


def document(source: str, title: str, text: str, page: int | None = None) -> Document:
    """A document whose blocks are its paragraphs."""
    blocks, position = [], 0
    for paragraph in text.split("\n\n"):
        end = position + len(paragraph)
        level = len(paragraph) - len(paragraph.lstrip("#"))
        blocks.append(Block("heading" if level else "text", position, end, level, page))
        position = end + 2
    return Document(source, title, text, tuple(blocks), content_hash=str(hash(text)))


def passage(found: Document, heading: str, first: str, last: str) -> Passage:
    """The passage from the words `first` to the words `last`."""
    start, end = found.text.index(first), found.text.index(last) + len(last)
    path = (found.title, heading)
    page = found.blocks[0].page
    text = found.text[start:end]
    return Passage(f"{found.id}-{start}", found.id, "s", found.source, found.title, path, page, None, start, end, text, 60)


def cite(number: int, of: Passage, quote: str) -> Citation:
    """A citation of `quote`."""
    start = of.start + of.text.index(quote)
    return Citation(number, of, quote, start, start + len(quote))


def section(found: Document) -> list[Passage]:
    """A passage for each block."""
    passages, heading = [], ""
    for block in found.blocks:
        text = found.text[block.start : block.end]
        if block.kind == "heading":
            heading = text.strip("# ")
        else:
            passages.append(passage(found, heading, text, text))
    return passages


class FakeIndex:
    """Documents in a dictionary."""

    def __init__(self) -> None:
        self.documents = [
            document("course/12-regularisation.md", "Regularisation", REGULARISATION),
            document("slides/training-deep-networks.pdf", "Training deep networks", TRAINING, page=7),
        ]

    def sources(self) -> list[SourceInfo]:
        """One line for each document."""
        return [SourceInfo(d.id, d.source, d.title, 12, 1400, "2026-01-05T10:00:00+00:00") for d in self.documents]

    def document(self, document_id: str) -> Document | None:
        """By id."""
        return next((d for d in self.documents if d.id == document_id), None)

    def remove(self, source: str) -> bool:
        """Forget a document."""
        before = len(self.documents)
        self.documents = [d for d in self.documents if d.source != source]
        return len(self.documents) < before


@dataclass
class FakeHistory:
    """Judgements by turn id."""

    judged: dict[str, tuple[int, str | None]] = field(default_factory=dict)

    def rate(self, turn_id: str, value: int, comment: str | None = None) -> None:
        """Keep a judgement."""
        self.judged[turn_id] = (value, comment)

    def withdraw(self, conversation: str) -> None:
        """There is no consent to take back."""

    def unrate(self, turn_id: str) -> None:
        """Drop a judgement."""
        del self.judged[turn_id]


class FakeChain:
    """Chooses a script by the question's words; `pace` is the seconds between two events."""

    def __init__(self, index: FakeIndex) -> None:
        self.pace = 0.05
        self.turns: list[Turn] = []
        self.done: list[Done] = []
        regularisation, training = index.documents
        self._dropout = passage(regularisation, "Dropout", "Dropout switches", "as a rule.")
        self._decay = passage(regularisation, "Weight decay", "Weight decay adds", "a validation set |")
        self._stopping = passage(training, "Early stopping", "Early stopping ends", "several epochs.")
        self._sections = [*section(regularisation), *section(training)]

    async def astream(self, turn: Turn) -> AsyncIterator[TurnEvent]:
        """The script's events, then Done."""
        self.turns.append(turn)
        started = time.monotonic()
        answer = ""
        for event in self._script(turn.question.lower()):
            await asyncio.sleep(self.pace)
            if turn.stop.is_set():
                break
            if isinstance(event, Sentence):
                answer += event.lead + event.text
            yield event
        total = round((time.monotonic() - started) * 1000, 1)
        timings = {"evidence_ms": 12.0, "first_sentence_ms": 90.0, "total_ms": total, "tokens_per_s": 11.0}
        answer = answer.strip()
        exchange = Exchange(turn.question, answer) if answer else None
        done = Done(uuid4().hex, answer, "fake-1.5b", turn.stop.is_set(), 600, 80, 550, timings, exchange)
        self.done.append(done)
        yield done

    def stream(self, turn: Turn) -> Iterator[TurnEvent]:
        """The script's events without Done."""
        yield from self._script(turn.question.lower())

    def _script(self, question: str) -> Iterator[TurnEvent]:
        if "weather" in question:
            yield Evidence((), question, 11.0)
            topics = ("Regularisation: Dropout", "Training deep networks: Early stopping")
            yield Refusal("not_covered", "The course does not seem to cover this.", topics)
            return
        if "instructions" in question:
            yield Refusal("injection", "The question asks Lectern to ignore its rules.")
            return
        if "broken" in question:
            raise RuntimeError("the fake chain broke")
        if "missing" in question:
            raise CourseError("The weights of fake-1.5b are not here.", "Fetch them: lectern models pull")
        if "whole section" in question:
            yield from self._from_whole_section(question)
            return
        ranked = [RankedPassage(p, 0.03, 0.7) for p in (self._dropout, self._stopping, self._decay)]
        yield Evidence(tuple(ranked), question, 14.0)
        if "unsupported" in question:
            yield Dropped("Dropout was invented in 1850.", "No passage supports it.")
            yield Refusal("unsupported", "The nearest passages do not support an answer to this.", ("Regularisation",))
        elif "long" in question:
            for number in range(60):
                yield Sentence(f"Sentence {number} about training.", " " if number else "", self._quote(2, self._stopping), 0.9)
        else:
            yield from self._about_dropout()

    def _from_whole_section(self, question: str) -> Iterator[TurnEvent]:
        """Eight passages, of which five were found; the second sentence cites the seventh."""
        found = [1.0, 0.8, 0.5, 0.4, 0.3]
        scores = [*found, *([0.0] * (len(self._sections) - len(found)))]
        ranked = [RankedPassage(p, score, score) for p, score in zip(self._sections, scores, strict=True)]
        yield Evidence(tuple(ranked), question, 14.0, cold="cold" in question)
        for number in (1, 7):
            of = self._sections[number - 1]
            yield Sentence(of.text, " " if number > 1 else "", self._quote(number, of), 0.9)

    def _about_dropout(self) -> Iterator[TurnEvent]:
        first = "Dropout switches off randomly chosen units during training."
        kept = "Each unit is kept with a probability p"
        code = "    mask = np.random.rand(*x.shape) < p"
        yield Sentence(first, "", (cite(1, self._dropout, first),), 0.97)
        yield Sentence("Each unit is kept with probability p:often 0.5.", " ", (cite(1, self._dropout, kept),), 0.93)
        yield Dropped("It was first used in 1998.", "No passage supports it.")
        yield Sentence(
            "```python\nmask = np.random.rand(*x.shape) < p\nx[1]\n```", "\n\n", (cite(1, self._dropout, code),), 0.9
        )
        slow = "Dropout slows training by a factor of two to three."
        yield Sentence("It slows training by a factor of two to three.", "\n\n- ", (cite(1, self._dropout, slow),), 0.9)
        row = "| Weight decay | weights | none |"
        formula = "so weights stay small"
        two = (cite(3, self._decay, row), cite(3, self._decay, formula), *self._quote(2, self._stopping))
        yield Sentence(
            "Alternatives are weight decay, $\\lambda \\lVert w \\rVert^2$, at $5 to $10, and early stopping.", "\n- ", two, 0.8
        )

    @staticmethod
    def _quote(number: int, of: Passage) -> tuple[Citation, ...]:
        return (cite(number, of, of.text),)


@dataclass
class FakeRuntime:
    """Speaks the interface of assistant.runtime.Runtime."""

    settings: Settings
    index: FakeIndex = field(default_factory=FakeIndex)
    history: FakeHistory = field(default_factory=FakeHistory)
    chain: FakeChain = field(init=False)

    def __post_init__(self) -> None:
        self.chain = FakeChain(self.index)

    def stream(self, turn: Turn) -> Iterator[TurnEvent]:
        """The chain's."""
        return self.chain.stream(turn)

    def astream(self, turn: Turn) -> AsyncIterator[TurnEvent]:
        """The chain's."""
        return self.chain.astream(turn)

    def read_ahead(self) -> None:
        """There is no model that could."""

    def starters(self) -> list[str]:
        """Questions that the fake course answers."""
        return [
            "What does dropout do during training?",
            "When should training stop early?",
            "How does weight decay keep weights small?",
            "What is regularisation for?",
        ]

    def models(self) -> list[str]:
        """Two names."""
        return list(dict.fromkeys([self.settings.model.name, "fake-1.5b", "fake-0.5b"]))

    def choose_model(self, name: str) -> None:
        """Remember the choice."""
        self.settings = self.settings.model_copy(update={"model": self.settings.model.model_copy(update={"name": name})})


def fake_ingest(
    index: FakeIndex,
    paths: Sequence[Path],
    on_progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
    chunking: object = None,
    inspect: object = None,
    transcribe: object = None,
) -> IngestReport:
    """Takes .md files, slowly, and skips everything else."""
    report = IngestReport()
    for number, path in enumerate(paths):
        for step in range(4):
            if stop is not None and stop.is_set():
                report.stopped = True
                return report
            time.sleep(0.2)
            if on_progress:
                on_progress(Progress(number, len(paths), str(path), 8 * step, 31.0, 1.5 * (len(paths) - number)))
        if path.suffix == ".md":
            index.documents.append(document(str(path), path.stem.title(), path.read_text()))
            report.added.append(str(path))
            report.passages += 8
        else:
            report.skipped.append(Skipped(str(path), "this format is not read."))
    report.seconds = 0.8 * len(paths)
    return report
