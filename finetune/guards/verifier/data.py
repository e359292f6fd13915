"""Makes the verifier's training rows: labelled pairs of public sets, and claims made by rule from running text.

    python -m finetune.guards.verifier.data --data FOLDER --out FOLDER [--rows N] [--share-alike]

Writes train.jsonl, check.jsonl (other documents than train: to watch training) and data.json, the counts that
DATA.md explains. The same folder, numbers and seed give the same rows.
"""

import argparse
import json
import random
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from hashlib import blake2b, sha256
from pathlib import Path

from finetune.guards.verifier.rewrite import changed, extended, introduced, rewritten
from finetune.guards.verifier.sources import Pair, Text, pairs, texts
from knowledge.errors import CourseError

REPORTED = (
    "faithjudge/*.jsonl", "wice/oracle_claim_test.jsonl", "wice/oracle_claim_dev.jsonl", "attributionbench/*.jsonl",
    "qags/*.jsonl", "ragtruth_sample/*.jsonl", "faithjudge_qwen15b/*.txt",
)  # fmt: skip
_SHINGLE = 10  # words in a row; a row that shares so many with a set that reports figures is left out
_CHECKED = 20  # one document (and one premise of the public sets) in so many is kept for check.jsonl
_PREMISE_WORDS = 170
_WORD = re.compile(r"\w+")


def made_from(texts: Sequence[Text], draw: random.Random) -> Iterator[Pair]:
    """Claims about three-sentence windows of running text.

    Of each sentence: itself reworded, joined with a neighbour; one detail changed; joined with what the window does not say;
    itself against a window of the same document that lacks it; and what the document says elsewhere.

    Args:
        texts: of one document.
        draw: where chance comes from.
    """
    pool = [sentence for text in texts for sentence in text.sentences]
    for text in texts:
        for place in range(len(text.sentences)):
            yield from _about(text, place, pool, draw)


def _about(text: Text, place: int, pool: Sequence[str], draw: random.Random) -> Iterator[Pair]:
    sentence, name = text.sentences[place], text.source
    start = max(0, place - draw.randint(0, 2))
    window = text.sentences[start : start + 3]
    premise = _cut(" ".join(window))
    if sentence not in premise:
        return
    others = [other for other in pool if other not in window]

    def claim(true: str) -> str:
        return rewritten(true, draw, draw.choice((0, 1, 2, 3, 4)))

    yield Pair(premise, introduced(claim(sentence), draw), 1, f"{name}/same")
    yield Pair(premise, introduced(claim(sentence), draw), 1, f"{name}/same")
    if len(window) > 1 and draw.random() < 0.6:
        neighbour = draw.choice([other for other in window if other != sentence] or [sentence])
        yield Pair(premise, introduced(extended(claim(sentence), claim(neighbour), draw), draw), 1, f"{name}/joined")
    for _ in range(2):
        if found := changed(sentence, premise, others, draw):
            yield Pair(premise, introduced(claim(found[0]), draw), 0, f"{name}/{found[1]}")
    if not others:
        return
    stranger = _alike(sentence, others, draw)
    if draw.random() < 0.5:
        yield Pair(premise, introduced(extended(claim(sentence), claim(stranger), draw), draw), 0, f"{name}/half")
    yield Pair(premise, introduced(claim(stranger), draw), 0, f"{name}/stranger")
    if len(text.sentences) > 3 and draw.random() < 0.5:
        rest = [other for other in text.sentences if other != sentence]
        at = min(max(0, place - 1), len(rest) - 3)
        yield Pair(_cut(" ".join(rest[at : at + 3])), introduced(claim(sentence), draw), 0, f"{name}/absent")


def _alike(sentence: str, others: Sequence[str], draw: random.Random) -> str:
    """Of some sentences from elsewhere, the one that shares most words: near enough to mislead."""
    wanted = set(_WORD.findall(sentence.lower()))
    some = draw.sample(others, min(12, len(others)))
    return max(some, key=lambda other: len(wanted & set(_WORD.findall(other.lower()))))


def _cut(text: str) -> str:
    return " ".join(text.split()[:_PREMISE_WORDS])


def shingles(text: str) -> Iterator[int]:
    """Fingerprints of every ten words in a row."""
    words = _WORD.findall(text.lower())
    for start in range(len(words) - _SHINGLE + 1):
        yield int.from_bytes(blake2b(" ".join(words[start : start + _SHINGLE]).encode(), digest_size=8).digest(), "little")


def reported(data: Path) -> set[int]:
    """Fingerprints of all that stands in the sets that report figures; those that are not below `data` are left out."""
    known: set[int] = set()
    for pattern in REPORTED:
        for path in sorted(data.glob(pattern)):
            for line in path.read_text(encoding="utf-8").splitlines():
                for text in _strings(json.loads(line)) if line.strip() else ():
                    known.update(shingles(text))
    return known


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def collect(data: Path, rows: int, share_alike: bool, seed: int) -> tuple[list[Pair], list[Pair], dict[str, int]]:
    """Rows for training and for checking, in random order, and how many were left out and why.

    Raises:
        CourseError: a set is missing.
    """
    draw = random.Random(seed)
    documents: dict[str, list[Text]] = defaultdict(list)
    for text in texts(data):
        documents[text.document].append(text)
    made = {document: list(made_from(found, draw)) for document, found in documents.items()}
    keyed: list[tuple[str, Pair]] = [(pair.premise, pair) for pair in pairs(data, share_alike)]
    keyed += [(document, pair) for document, found in made.items() for pair in found]
    draw.shuffle(keyed)
    known, seen, left = reported(data), set[str](), Counter[str]()
    train: list[Pair] = []
    check: list[Pair] = []
    for key, pair in keyed:
        words = " ".join(_WORD.findall(f"{pair.premise} | {pair.claim}".lower()))
        if words in seen:
            left["twice"] += 1
        elif any(mark in known for text in (pair.premise, pair.claim) for mark in shingles(text)):
            left["in a set that reports figures"] += 1
        else:
            seen.add(words)
            (check if _held(key) else train).append(pair)
    return train[:rows], check, dict(left)


def _held(key: str) -> bool:
    return int.from_bytes(sha256(key.encode()).digest()[:4], "little") % _CHECKED == 0


def _write(path: Path, rows: Iterable[Pair]) -> None:
    path.write_text("".join(json.dumps(asdict(pair), ensure_ascii=False) + "\n" for pair in rows), encoding="utf-8")


def _counts(rows: Sequence[Pair]) -> dict[str, object]:
    by_source = Counter(pair.source for pair in rows)
    return {
        "rows": len(rows),
        "supported": sum(pair.supported for pair in rows),
        "by_source": dict(sorted(by_source.items())),
        "sha256": sha256("\n".join(f"{p.premise}\t{p.claim}\t{p.supported}" for p in rows).encode()).hexdigest(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the rows and say how many there are."""
    parser = argparse.ArgumentParser(description="Make the training rows of the groundedness verifier.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the public data sets")
    parser.add_argument("--out", type=Path, required=True, help="folder for the rows")
    parser.add_argument("--rows", type=int, default=100_000, help="most rows to train on")
    parser.add_argument("--share-alike", action="store_true", help="also SNLI; the weights must then be published as CC BY-SA")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    try:
        train, check, left = collect(given.data, given.rows, given.share_alike, given.seed)
    except CourseError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    given.out.mkdir(parents=True, exist_ok=True)
    _write(given.out / "train.jsonl", train)
    _write(given.out / "check.jsonl", check)
    about = {"seed": given.seed, "share_alike": given.share_alike, "left_out": left}
    told = about | {"train": _counts(train), "check": _counts(check)}
    (given.out / "data.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(told, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
