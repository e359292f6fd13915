"""How much of what a question needs is in its prompt: `python -m evals.bench.evidence --data DIR`.

The chunking set's questions with their gold spans, through Lectern's own ingest, retriever and planner. Printed for the
development half (a hash of the question decides; the planner's constants were chosen on it), the other half, and both: the
share of questions whose gold text is all in the prompt, the mean share of gold text, and what the evidence costs in tokens of
the chat model. The best five passages stand beside it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from timeit import default_timer
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track

from assistant.models import model_path
from assistant.settings import go_offline, load_settings
from evals.bench.machine import machine, spread
from evals.bench.retrieval import Corpus, read_corpora
from knowledge.embedding import Embedder, SentenceEmbedder
from knowledge.evidence import EvidencePlanner, Excerpt, Plan, Span, TokenCounter
from knowledge.index import CourseIndex
from knowledge.ingest import ingest
from knowledge.passage import Passage
from knowledge.retrieval import CourseRetriever
from knowledge.settings import ChunkingSettings, EvidenceSettings, RetrievalSettings

_TOP = 5
_WAYS = (f"top {_TOP} passages", "section", "section and extras", "pruned")


@dataclass(frozen=True, slots=True)
class Measured:
    """One question.

    Attributes:
        shares: by way of choosing the evidence, how much of its gold text is in it, 0 to 1.
        tokens: likewise, of the chat model.
        extra_tokens: what the extras add, their places named.
        seconds: to find and to choose.
    """

    question: str
    shares: dict[str, float]
    tokens: dict[str, int]
    extra_tokens: int
    seconds: float

    @property
    def development(self) -> bool:
        """Whether it is one of those that the constants were chosen on."""
        return sha256(self.question.encode()).digest()[-1] % 2 == 0


def main(data: Annotated[Path, typer.Option(help="Holds the folder chunking_eval.")]) -> None:
    """Ingest, plan and print; takes a few minutes."""
    go_offline()
    settings = load_settings()
    embedder = SentenceEmbedder(model_path(settings.embedder))
    count_tokens = token_counter(model_path(settings.model.name))
    print(machine())
    print(
        f"{embedder.identity}, tokens of {settings.model.name}\n{settings.chunking}, {settings.retrieval}, {settings.evidence}"
    )
    measured: list[Measured] = []
    for corpus in read_corpora(data / "chunking_eval"):
        with TemporaryDirectory() as folder:
            index = ingested(corpus, Path(folder), embedder, settings.chunking)
            measured += measure(corpus, index, count_tokens, settings.retrieval, settings.evidence)
    report(measured)


def token_counter(path: Path) -> TokenCounter:
    """Counts tokens of a GGUF model without reading its weights."""
    from llama_cpp import Llama

    model = Llama(str(path), vocab_only=True, verbose=False)
    return lambda text: len(model.tokenize(text.encode(), add_bos=False))


def ingested(corpus: Corpus, folder: Path, embedder: Embedder, settings: ChunkingSettings) -> CourseIndex:
    """An index of one corpus."""
    index = CourseIndex(folder, embedder)
    ingest(index, [corpus.path], chunking=settings)
    return index


def measure(
    corpus: Corpus, index: CourseIndex, count_tokens: TokenCounter, retrieval: RetrievalSettings, evidence: EvidenceSettings
) -> list[Measured]:
    """Ask every question of a corpus.

    Raises:
        ValueError: nothing was found, or a gold text is not in the document.
    """
    (source,) = index.sources()
    document = index.document(source.document_id)
    retriever = CourseRetriever(index=index, settings=retrieval, k=evidence.candidates)
    planner = EvidencePlanner(index, evidence, count_tokens)
    measured = []
    asked = track(corpus.questions.items(), description=f"Asking {corpus.name}", console=Console(stderr=True))
    for id_, question in asked:
        started = default_timer()
        found = retriever.retrieve(question)
        plan = planner.plan(question, found)
        seconds = default_timer() - started
        if document is None or plan is None:
            raise ValueError(f"{corpus.name} has nothing for {question!r}")
        top = [item.passage for item in found.passages[:_TOP]]
        spans = _spans(top, plan)
        shares = {way: gold_share(document.text, corpus.golds[id_], chosen) for way, chosen in spans.items()}
        tokens = {way: sum(count_tokens(document.text[a:b]) for a, b in chosen) for way, chosen in spans.items()}
        measured.append(Measured(question, shares, tokens, plan.extra_tokens, seconds))
    return measured


def gold_share(text: str, golds: Iterable[str], spans: Iterable[Span]) -> float:
    """Share of the characters of `golds` that lie in `spans` of `text`, white space not counted; any copy of a gold will do.

    Raises:
        ValueError: a gold text is not in the text.
    """
    inside = np.zeros(len(text), dtype=bool)
    for start, end in spans:
        inside[start:end] = True
    held = total = 0
    for gold in golds:
        letters = np.array([i for i, character in enumerate(gold) if not character.isspace()])
        copies = [inside[match.start() + letters] for match in re.finditer(re.escape(gold), text)]
        if not copies:
            raise ValueError(f"Gold text that is not in the document: {gold[:80]!r}")
        held += int(np.logical_or.reduce(copies).sum())
        total += len(letters)
    return held / total


def report(measured: Sequence[Measured]) -> None:
    """Print the table."""
    halves = {
        "development": [m for m in measured if m.development],
        "test": [m for m in measured if not m.development],
        "both": list(measured),
    }
    print(f"\n{'all gold / mean share of gold':<32}" + "".join(f"{f'{name}, n = {len(m)}':>22}" for name, m in halves.items()))
    for way in _WAYS:
        row = [np.array([m.shares[way] for m in half]) for half in halves.values()]
        print(
            f"{way:<32}" + "".join(f"{f'{(x == 1).mean():.3f} / {x.mean():.3f}':>22}" if len(x) else f"{'-':>22}" for x in row)
        )
    with_extras = [m.extra_tokens for m in measured if m.extra_tokens]
    print(f"\nwithout extras: {1 - len(with_extras) / len(measured):.1%}")
    print(f"tokens of extras, where there are any: {spread(with_extras)}, most {max(with_extras, default=0)}")
    for way in _WAYS:
        tokens = [m.tokens[way] for m in measured]
        print(f"tokens of {way}: {spread(tokens)}, most {max(tokens)}")
    pruned = median(m.tokens["pruned"] / m.tokens["section and extras"] for m in measured)
    print(f"pruned, share of section and extras: {pruned:.2f}")
    print(f"time to find and choose: {spread([1000 * m.seconds for m in measured], ' ms')}")


def _spans(top: Iterable[Passage], plan: Plan) -> dict[str, list[Span]]:
    """By way of choosing, the characters of the document that are in the prompt."""
    section = _whole(plan.section)
    return dict(zip(_WAYS, (_whole(top), section, section + _parts(plan.extras), _parts(plan.pruned)), strict=True))


def _whole(passages: Iterable[Passage]) -> list[Span]:
    return [(passage.start, passage.end) for passage in passages]


def _parts(excerpts: Iterable[Excerpt]) -> list[Span]:
    return [(e.passage.start + start, e.passage.start + end) for e in excerpts for start, end in e.spans]


if __name__ == "__main__":
    typer.run(main)
