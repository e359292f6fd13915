"""Course files -> clean text, some documents of it held out: step one of the lesson.

Whole documents are held out, not lines: neighbouring sentences say nearly the same, and a model that has read one of them
would look better on the other than it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from knowledge.errors import CourseError, UnreadableFile
from knowledge.loaders.discover import Found, discover
from knowledge.loaders.load import load

HELD = 0.1  # of the documents, at least one
_LEAST = 20_000  # characters: below that there is nothing to learn from


@dataclass(frozen=True, slots=True)
class Texts:
    """Documents to learn from and documents to be measured on, by name."""

    train: dict[str, str]
    held: dict[str, str]


def read_course(paths: Sequence[Path], seed: int = 0) -> Texts:
    """Load files and folders, drop repeated paragraphs, and hold some documents out.

    Args:
        paths: files, or folders that are taken recursively; files that cannot be read are passed over.
        seed: decides which documents are held out.

    Raises:
        CourseError: fewer than two documents, or too little text.
    """
    documents: dict[str, str] = {}
    for item in discover(paths):
        if isinstance(item, Found):
            try:
                documents[item.source] = load(item.path, item.source).text
            except UnreadableFile:  # `lectern ingest` has named it
                continue
    if len(documents) < 2 or sum(map(len, documents.values())) < _LEAST:
        raise CourseError(
            f"{len(documents)} documents with {sum(map(len, documents.values()))} characters are too little to learn from.",
            f"Give files or folders with two documents and {_LEAST} characters at least.",
        )
    return split(documents, seed)


def split(documents: dict[str, str], seed: int = 0) -> Texts:
    """Hold out a tenth of the documents; paragraphs that come again are dropped, held-out ones that training has seen too."""
    names = sorted(documents)
    held = set(Random(seed).sample(names, max(1, round(HELD * len(names)))))
    seen: set[str] = set()  # training first, so that what both hold stays in training and leaves the measured text
    train = {name: _without_repeats(documents[name], seen) for name in names if name not in held}
    return Texts(train, {name: _without_repeats(documents[name], seen) for name in sorted(held)})


def _without_repeats(text: str, seen: set[str]) -> str:
    """Exact deduplication: each paragraph once in the whole course."""
    kept = []
    for paragraph in text.split("\n\n"):
        key = " ".join(paragraph.split()).lower()
        if key and key not in seen:
            seen.add(key)
            kept.append(paragraph.strip("\n"))
    return "\n\n".join(kept)
