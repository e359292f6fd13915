"""How well passages are found: `python -m evals.bench.retrieval --data DIR [--collection cranfield|chunking] [--limit N]`.

Dense, BM25 and fused rankings on two public collections, with Lectern's own loader, chunker, embedder, BM25 and fusion, scored
by ir_measures (needs the dev extra). Dense search is exact here; the index asks Chroma, whose HNSW graph is approximate.
"""

import csv
import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from assistant.models import model_path
from assistant.settings import go_offline, load_settings
from evals.bench.machine import machine
from knowledge.chunking import chunk
from knowledge.embedding import Embedder, SentenceEmbedder
from knowledge.errors import CourseError
from knowledge.lexical import LexicalIndex
from knowledge.loaders.load import load
from knowledge.passage import Document, Passage
from knowledge.retrieval import fuse
from knowledge.settings import ChunkingSettings, RetrievalSettings

_TOP = 5  # passages that an answer may draw on
_BATCH = 64
_RESAMPLES = 10_000
_SYSTEMS = ("dense", "BM25", "fused")
_CRANFIELD = "github.com/oussbenk/cranfield-trec-dataset"
_CHUNKING = "github.com/brandonstarxel/chunking_evaluation"

Ranking = list[str]
Scores = dict[str, dict[str, float]]  # measure -> question id -> value


class Which(StrEnum):
    """What --collection takes."""

    cranfield = "cranfield"
    chunking = "chunking"


@dataclass(frozen=True, slots=True)
class Corpus:
    """One document of the chunking set; questions and the texts that answer them, verbatim, by question id."""

    name: str
    path: Path
    questions: dict[str, str]
    golds: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Collection:
    """Passages, questions and which passages answer which question.

    Attributes:
        texts: by passage id, what is embedded and indexed.
        questions: by question id.
        relevant: by question id, then passage id: its grade.
        gold: by question id, then passage id: which characters of the gold text the passage holds. Empty without gold spans.
        gold_size: by question id, the number of those characters.
    """

    name: str
    texts: dict[str, str]
    questions: dict[str, str]
    relevant: dict[str, dict[str, int]]
    gold: dict[str, dict[str, frozenset[int]]] = field(default_factory=dict)
    gold_size: dict[str, int] = field(default_factory=dict)


def main(
    data: Annotated[Path, typer.Option(help="Holds the folders cranfield and chunking_eval.")],
    collection: Annotated[Which | None, typer.Option(help="One of the two; both if left out.")] = None,
    limit: Annotated[int, typer.Option(help="Ask a random sample of this size from each corpus; 0 asks all.")] = 0,
    seed: Annotated[int, typer.Option(help="For the sample and the bootstrap.")] = 0,
) -> None:
    """Rank, score and print; embedding everything takes a few minutes."""
    go_offline()
    settings = load_settings()
    embedder = SentenceEmbedder(model_path(settings.embedder))
    print(machine())
    print(f"{embedder.identity}, {settings.chunking}, {settings.retrieval}")
    if collection != Which.chunking:
        cranfield = read_cranfield(data / "cranfield")
        _report("cranfield", [_scored(cranfield, embedder, settings.retrieval, limit, seed)], seed)
    if collection != Which.cranfield:
        corpora = read_chunking(data / "chunking_eval", embedder, settings.chunking)
        scored = []
        for corpus in corpora:
            scored.append(_scored(corpus, embedder, settings.retrieval, limit, seed))
            _report(corpus.name, scored[-1:], seed)
        _report("all corpora", scored, seed)


def read_cranfield(folder: Path) -> Collection:
    """The Cranfield collection: abstracts are passages, aeronautical engineers' questions.

    Raises:
        CourseError: a file is missing.
    """
    documents, queries, qrels = _files(folder, _CRANFIELD, "cran.all.1400.xml", "cran.qry.xml", "cranqrel.trec.txt")
    # The documents' file has no root element, so it is not XML; tags inside an abstract do not occur.
    texts = {}
    for entry in re.findall(r"<doc>(.*?)</doc>", documents.read_text(encoding="utf-8"), re.DOTALL):
        number, title, text = (_tag(entry, name) for name in ("docno", "title", "text"))
        if text:  # two abstracts are empty; an ingest would not take them
            texts[number] = text if text.startswith(title) else f"{title}\n{text}"  # nearly all begin with their title
    # <num> is a question's number in a larger original set (1, 2, 4, 8 ... 365), but the qrels count positions, 1 to 225:
    # joined by <num>, BM25 has an nDCG@10 of 0.01 on the 152 questions that find any judgement, by position 0.39 on all 225.
    found = re.findall(r"<top>(.*?)</top>", queries.read_text(encoding="utf-8"), re.DOTALL)
    questions = {str(position): _tag(entry, "title") for position, entry in enumerate(found, start=1)}
    relevant: dict[str, dict[str, int]] = {question: {} for question in questions}  # grades 0 and 1, and a single 3
    for line in qrels.read_text(encoding="utf-8").splitlines():
        question, _, document, grade = line.split()
        relevant[question][document] = int(grade)
    return Collection("cranfield", texts, questions, relevant)


def read_chunking(folder: Path, embedder: Embedder, settings: ChunkingSettings) -> list[Collection]:
    """The chunking set: one collection a corpus, cut as an ingest would cut it; gold spans of characters for each question.

    Raises:
        CourseError: a file is missing.
    """
    collections = []
    for corpus in read_corpora(folder):
        document = load(corpus.path, corpus.name)
        _, passages = chunk(document, embedder.count_tokens, settings)
        collections.append(with_gold(corpus.name, document, passages, corpus.questions, corpus.golds))
    return collections


def read_corpora(folder: Path) -> list[Corpus]:
    """The documents of the chunking set with their questions, by name.

    Raises:
        CourseError: a file is missing.
    """
    (table,) = _files(folder, _CHUNKING, "questions_df.csv")
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    corpora = []
    for name in sorted({row["corpus_id"] for row in rows}):
        (path,) = _files(folder, _CHUNKING, f"{name}.md")
        asked = {f"{name}-{i}": row for i, row in enumerate(rows) if row["corpus_id"] == name}
        golds = {id_: [span["content"] for span in json.loads(row["references"])] for id_, row in asked.items()}
        corpora.append(Corpus(name, path, {id_: row["question"] for id_, row in asked.items()}, golds))
    return corpora


def with_gold(
    name: str, document: Document, passages: Sequence[Passage], questions: dict[str, str], golds: dict[str, list[str]]
) -> Collection:
    """A collection whose relevant passages are those that hold a part of a question's gold texts.

    One of the corpora repeats a third of its paragraphs word for word. A copy answers as well as the original, so every copy of
    a gold text counts; passages with the same text are one, as in CourseRetriever.

    Raises:
        ValueError: a gold text is not in the document, so the two do not belong together.
    """
    first = {passage.text: passage for passage in reversed(passages)}
    gold: dict[str, dict[str, frozenset[int]]] = {}
    gold_size = {}
    for question, contents in golds.items():
        held: dict[str, set[int]] = {}
        size = 0
        for content in contents:
            words = [i for i, character in enumerate(content) if not character.isspace()]
            starts = [match.start() for match in re.finditer(re.escape(content), document.text)]
            if not starts:
                raise ValueError(f"Gold text that is not in {name}: {content[:80]!r}")
            for start, passage in product(starts, passages):
                if passage.start < start + len(content) and start < passage.end:
                    inside = {size + n for n, i in enumerate(words) if passage.start <= start + i < passage.end}
                    held.setdefault(first[passage.text].id, set()).update(inside)
            size += len(words)
        gold[question] = {id_: frozenset(inside) for id_, inside in held.items() if inside}
        gold_size[question] = size
    relevant = {question: dict.fromkeys(held, 1) for question, held in gold.items()}
    return Collection(name, {p.id: p.searchable for p in first.values()}, questions, relevant, gold, gold_size)


def rank(collection: Collection, embedder: Embedder, settings: RetrievalSettings) -> dict[str, dict[str, Ranking]]:
    """Passage ids, best first: by system ("dense", "BM25", "fused"), then question id."""
    ids, texts = list(collection.texts), list(collection.texts.values())
    starts = track(range(0, len(texts), _BATCH), description=f"Embedding {collection.name}", console=Console(stderr=True))
    vectors = np.concatenate([embedder.embed(texts[start : start + _BATCH]) for start in starts])
    asked = embedder.embed(list(collection.questions.values()))
    lexical = LexicalIndex(ids, texts)
    rankings: dict[str, dict[str, Ranking]] = {system: {} for system in _SYSTEMS}
    for (id_, question), vector in zip(collection.questions.items(), asked, strict=True):
        similarity = vectors @ vector
        dense = [(ids[i], float(similarity[i])) for i in np.argsort(-similarity, kind="stable")[: settings.candidates]]
        sparse = lexical.search(question, settings.candidates)
        for system, found in zip(_SYSTEMS, (dict(dense), dict(sparse), fuse([dense, sparse])), strict=True):
            rankings[system][id_] = list(found)
    return rankings


def score(collection: Collection, rankings: dict[str, Ranking]) -> Scores:
    """nDCG@10 and recall@10 of each question; with gold spans also how much of the gold text is in the top 5."""
    import ir_measures

    measures = (ir_measures.nDCG @ 10, ir_measures.R @ 10)
    relevant = {question: collection.relevant[question] for question in rankings}
    # Ranks as scores: trec_eval breaks ties by document name, and fused scores tie often.
    run = {question: {id_: -float(place) for place, id_ in enumerate(ranking)} for question, ranking in rankings.items()}
    # One order of questions for every system, since they are compared in pairs; ir_measures has its own.
    scores: Scores = {str(measure): dict.fromkeys(rankings, 0.0) for measure in measures}
    for metric in ir_measures.iter_calc(measures, relevant, run):
        scores[str(metric.measure)][metric.query_id] = metric.value
    if collection.gold:
        shares = {question: _share(collection, question, ranking[:_TOP]) for question, ranking in rankings.items()}
        scores[f"all gold in top {_TOP}"] = {question: float(share == 1) for question, share in shares.items()}
        scores[f"gold share in top {_TOP}"] = shares
    return scores


def interval(differences: NDArray[np.float64], seed: int) -> tuple[float, float]:
    """95% percentile bootstrap interval of the mean of paired differences, shape (questions,)."""
    rng = np.random.default_rng(seed)
    picks = rng.integers(len(differences), size=(_RESAMPLES, len(differences)))
    low, high = np.quantile(differences[picks].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def _scored(asked: Collection, embedder: Embedder, settings: RetrievalSettings, limit: int, seed: int) -> dict[str, Scores]:
    if 0 < limit < len(asked.questions):
        sample = random.Random(seed).sample(list(asked.questions), limit)
        asked = replace(asked, questions={question: asked.questions[question] for question in sample})
    return {system: score(asked, rankings) for system, rankings in rank(asked, embedder, settings).items()}


def _report(name: str, parts: Sequence[dict[str, Scores]], seed: int) -> None:
    measures = list(parts[0]["fused"])
    values = {
        system: {m: np.array([v for part in parts for v in part[system][m].values()]) for m in measures} for system in _SYSTEMS
    }
    print(f"\n{name}, n = {len(values['fused'][measures[0]])}")
    print(f"{'':<22}" + "".join(f"{system:>8}" for system in _SYSTEMS) + "   fused minus the better single one, 95% interval")
    for measure in measures:
        means = {system: values[system][measure].mean() for system in _SYSTEMS}
        best = max(_SYSTEMS[:2], key=means.__getitem__)
        differences = values["fused"][measure] - values[best][measure]
        low, high = interval(differences, seed)
        row = "".join(f"{means[system]:>8.3f}" for system in _SYSTEMS)
        print(f"{measure:<22}{row}   {differences.mean():+.3f} ({low:+.3f} to {high:+.3f}) over {best}")


def _share(collection: Collection, question: str, passages: Ranking) -> float:
    held = collection.gold[question]
    return len(frozenset[int]().union(*(held.get(id_, ()) for id_ in passages))) / collection.gold_size[question]


def _files(folder: Path, source: str, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        if not path.is_file():
            raise CourseError(f"{path} is missing.", f"Put the files of {source} there, or name their parent with --data.")
    return paths


def _tag(entry: str, name: str) -> str:
    found = re.search(rf"<{name}>(.*?)</{name}>", entry, re.DOTALL)
    return " ".join(found[1].split()) if found else ""


if __name__ == "__main__":
    typer.run(main)
