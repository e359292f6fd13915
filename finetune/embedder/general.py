"""Is the tuned embedder still good at text of no course? Public sets where --data names them, and a check without any."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np

from finetune.embedder.figures import Criterion, gain, paired
from finetune.embedder.questions import rows_of
from knowledge.embedding import Embedder, Vectors
from knowledge.errors import CourseError

_MARGIN = 0.03  # nDCG@10, or share of questions
_COLLAPSE = 0.05  # cosine by which texts of different subjects may come nearer
_PARAGRAPHS = 400  # of SQuAD 2; each gives one question
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Collection:
    """Texts by id, and questions with the ids of the texts that answer them."""

    name: str
    texts: dict[str, str]
    questions: tuple[tuple[str, tuple[str, ...]], ...]


def check_general(
    before: Embedder, after: Embedder, data: Path | None, seed: int, tell: Callable[[str], None]
) -> list[Criterion]:
    """What was lost elsewhere; dense search alone, in which a loss shows most.

    Args:
        before: the embedder in use.
        after: the tuned one.
        data: holds the folders cranfield or squad2; None leaves public sets out.
        seed: of samples and intervals.
        tell: hears what is being measured.

    Raises:
        CourseError: `data` has neither.
    """
    found = []
    for collection in _collections(data, seed) if data else ():
        tell(collection.name)
        first, second = (_searched(collection, embedder) for embedder in (before, after))
        groups = [str(number) for number in range(len(first))]
        found.append(paired(f"{collection.name}, nDCG@10", first, second, groups, _MARGIN, seed))
    rows = rows_of("harmless.jsonl")
    if rows:
        tell("other subjects")
        found += _subjects(before, after, [str(row["question"]) for row in rows], [str(row["subject"]) for row in rows], seed)
    return found


def _subjects(before: Embedder, after: Embedder, questions: list[str], subjects: list[str], seed: int) -> list[Criterion]:
    """Questions of six subjects: is the nearest one of the same subject, and are those of others still far away?"""
    other = np.array([[mine != theirs for theirs in subjects] for mine in subjects])
    near, apart = [], []
    for embedder in (before, after):
        similarity = (vectors := embedder.embed(questions)) @ vectors.T
        apart.append([float(1 - row[mask].mean()) for row, mask in zip(similarity, other, strict=True)])
        np.fill_diagonal(similarity, -np.inf)
        near.append([float(not mask[row.argmax()]) for row, mask in zip(similarity, other, strict=True)])
    groups = [str(number) for number in range(len(questions))]
    return [
        paired("other subjects: the nearest question is of the same", near[0], near[1], groups, _MARGIN, seed),
        paired("other subjects: distance between them (1 - cosine)", apart[0], apart[1], groups, _COLLAPSE, seed),
    ]


def _searched(collection: Collection, embedder: Embedder) -> list[float]:
    ids, texts = list(collection.texts), list(collection.texts.values())
    vectors: Vectors = np.concatenate([embedder.embed(texts[at : at + _BATCH]) for at in range(0, len(texts), _BATCH)])
    asked = embedder.embed([text for text, _ in collection.questions])
    rankings = (np.argsort(-(vectors @ vector), kind="stable")[:10] for vector in asked)
    pairs = zip(rankings, collection.questions, strict=True)
    return [gain([ids[row] for row in ranking], relevant) for ranking, (_, relevant) in pairs]


def _collections(data: Path, seed: int) -> list[Collection]:
    readers = {"cranfield": read_cranfield, "squad2": lambda folder: read_squad(folder, seed)}
    found = [read(data / name) for name, read in readers.items() if (data / name).is_dir()]
    if not found:
        raise CourseError(f"{data} has none of the folders {' and '.join(readers)}.", "Name their parent with --data.")
    return found


def read_cranfield(folder: Path) -> Collection:
    """Cranfield from github.com/oussbenk/cranfield-trec-dataset: 1,398 abstracts and 225 questions of aeronautical engineers.

    Raises:
        CourseError: a file is missing.
    """
    documents, queries = (_text(folder / name) for name in ("cran.all.1400.xml", "cran.qry.xml"))
    texts = {_tag(entry, "docno"): _tag(entry, "text") for entry in re.findall(r"<doc>(.*?)</doc>", documents, re.DOTALL)}
    relevant: dict[int, list[str]] = {}
    for line in _text(folder / "cranqrel.trec.txt").splitlines():
        question, _, document, grade = line.split()
        if int(grade) > 0 and texts.get(document):
            relevant.setdefault(int(question), []).append(document)
    # Judgements count positions, not the numbers that the questions carry; see evals/bench/retrieval.py.
    asked = enumerate(re.findall(r"<top>(.*?)</top>", queries, re.DOTALL), start=1)
    questions = tuple((_tag(entry, "title"), tuple(relevant[place])) for place, entry in asked if place in relevant)
    return Collection("cranfield", {id_: text for id_, text in texts.items() if text}, questions)


def read_squad(folder: Path, seed: int) -> Collection:
    """Paragraphs of SQuAD 2.0's dev-v2.0.json (Rajpurkar, Jia and Liang, 2018), each with one question that it answers.

    Raises:
        CourseError: the file is missing.
    """
    articles = json.loads(_text(folder / "dev-v2.0.json"))["data"]
    random = Random(seed)
    found = []
    for paragraph in (paragraph for article in articles for paragraph in article["paragraphs"]):
        if answered := [asked["question"].strip() for asked in paragraph["qas"] if not asked["is_impossible"]]:
            found.append((paragraph["context"], random.choice(answered)))
    chosen = random.sample(found, min(_PARAGRAPHS, len(found)))
    texts = {str(number): text for number, (text, _) in enumerate(chosen)}
    return Collection("squad2", texts, tuple((asked, (str(number),)) for number, (_, asked) in enumerate(chosen)))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CourseError(f"{path} cannot be read: {error}.", "Put the set there, or leave --data out.") from error


def _tag(entry: str, name: str) -> str:
    found = re.search(rf"<{name}>(.*?)</{name}>", entry, re.DOTALL)
    return " ".join(found[1].split()) if found else ""
