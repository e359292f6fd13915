"""Where the training rows come from: labelled pairs of public sets, and running text to make rows of.

Licences are in DATA.md. Nothing that reports a figure of Lectern is read here, and neither is the starter course: its claims
(evals/cases/claims.jsonl) measure how the verifier does on a course that it has never seen.
"""

import ast
import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from knowledge.errors import CourseError
from knowledge.sentences import sentence_spans

PERMISSIVE = ("mnli", "scitail")
SHARE_ALIKE = ("snli",)  # CC BY-SA 4.0: only for weights that are published under the same terms
DOCUMENTED = ("sklearn", "scipy", "numpy", "torch", "networkx", "sympy", "transformers")
_MEASURED = 400  # pairs of each set, those with the lowest hash, that evals/sets/nli.py measures judges on
_SHORTEST, _LONGEST = 7, 60  # words of a sentence that a claim can be made of
_MOST_OF_ONE = 1000  # sentences of one source, so that none outweighs the rest
_QUESTION = re.compile(r"\?\s*$")
_PARAMETER = re.compile(r"^\s*(?:>>>|\.\. |:param|:class|\w+ : )", re.MULTILINE)
_NOT_PROSE = (
    "http",
    "---",
    "===",
    "optional",
    "(default",
    "Args:",
    "Returns:",
    "Yields",
    " : ",
    "|",
    "::",
    ">>>",
    "Parameters",
    "Returns ",
    "Default:",
)
_ROLE = re.compile(r":\w+(?::\w+)?:`~?([^`<]+?)(?:\s*<[^>]*>)?`")
_CITED = re.compile(r"\s*(?:\[\d+(?:[,–-]\s*\d+)*\]_?|\((?:[A-Z][^()]*? )?(?:19|20)\d\d[a-z]?(?:;[^()]*)?\))")


@dataclass(frozen=True, slots=True)
class Pair:
    """A text and a claim, and whether the text supports all that the claim says."""

    premise: str
    claim: str
    supported: int
    source: str


@dataclass(frozen=True, slots=True)
class Text:
    """Sentences that follow each other in one document."""

    source: str
    document: str
    sentences: tuple[str, ...]


def pairs(data: Path, share_alike: bool = False) -> Iterator[Pair]:
    """Labelled pairs of the public sets below `data`, without those that judges are measured on.

    Raises:
        CourseError: a file is missing.
    """
    for name in (*PERMISSIVE, *(SHARE_ALIKE if share_alike else ())):
        yield from _entailment(data / "nli" / f"{name}_dev.csv", name)
    for part in ("one-turn", "multi-turn"):
        yield from _halueval(data / "halueval" / f"qa_{part}_data.json")


def texts(data: Path) -> Iterator[Text]:
    """Running text under permissive terms: research papers, a speech, annual reports, documentation of libraries."""
    folder = data / "chunking_eval"
    yield from _paragraphs("pubmed", _read(folder / "pubmed.md"), most=3 * _MOST_OF_ONE)
    yield from _paragraphs("speeches", _in_eights(_read(folder / "state_of_the_union.md")))
    # The reports are in small letters throughout.
    whole = re.sub(r"(?<=[a-z%)]\. )[a-z]", lambda letter: letter[0].upper(), _read(folder / "finance.md"))
    yield from _paragraphs("finance", _in_eights(whole), most=2 * _MOST_OF_ONE)
    for package in DOCUMENTED:
        yield from _documentation(package)


def _entailment(path: Path, name: str) -> Iterator[Pair]:
    rows = list(csv.DictReader(_read(path).splitlines(keepends=True)))
    known = {sha256(f"{row['premise']}|{row['hypothesis']}".encode()).hexdigest()[:16]: row["premise"] for row in rows}
    measured = {known[key] for key in sorted(known)[:_MEASURED]}
    for row in rows:
        if row["premise"] not in measured and row["label"] in ("entailment", "neutral", "contradiction", "not_entailment"):
            yield Pair(row["premise"].strip(), row["hypothesis"].strip(), int(row["label"] == "entailment"), name)


def _halueval(path: Path) -> Iterator[Pair]:
    """Right and made-up answers to the dev half of the questions; a fragment comes with its question, as when it is checked."""
    for line in _read(path).splitlines():
        row = json.loads(line)
        question = row["question"].strip()
        if sha256(question.encode()).digest()[-1] % 2:
            continue  # the test half of evals/sets/halueval.py
        for key, supported in (("right_answer", 1), ("hallucinated_answer", 0)):
            answer = row[key].strip()
            claim = answer if len(answer.split()) > 4 else f"{question} {answer}"
            yield Pair(row["knowledge"].strip(), claim, supported, "halueval")


def _in_eights(text: str) -> str:
    """A text whose paragraphs tell nothing, in paragraphs of eight sentences."""
    return re.sub(r"((?:[^.]+\. ){8})", r"\1\n\n", " ".join(text.split()))


def _paragraphs(source: str, text: str, most: int = _MOST_OF_ONE) -> Iterator[Text]:
    kept = 0
    for number, paragraph in enumerate(re.split(r"\n\s*\n|\n(?=[A-Z][^\n]{200})", text)):
        found = _sentences(paragraph)
        if len(found) >= 3 and kept < most:
            kept += len(found)
            yield Text(source, f"{source}-{number // 12}", found)


def _documentation(package: str) -> Iterator[Text]:
    """Prose of the docstrings of an installed library, by module; the files are read, not run."""
    spec = find_spec(package)
    root = Path(spec.origin).parent if spec and spec.origin else None
    kept = 0
    for path in sorted(root.rglob("*.py")) if root else ():
        if kept >= _MOST_OF_ONE or "test" in str(path.relative_to(root or path)):
            continue
        for prose in _docstrings(path):
            for paragraph in re.split(r"\n\s*\n", prose):
                found = () if _PARAMETER.search(paragraph) else _sentences(_ROLE.sub(r"\1", paragraph))
                if len(found) >= 3:
                    kept += len(found)
                    yield Text(package, f"{package}/{path.stem}", found)


def _docstrings(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return  # templates and files in other encodings
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (found := ast.get_docstring(node)):
            yield found


def _sentences(paragraph: str) -> tuple[str, ...]:
    """Whole sentences of a paragraph, without references to literature; none where it is not prose."""
    text = " ".join(_CITED.sub("", paragraph).split()).replace("``", "`")
    found = [text[start:end] for start, end in sentence_spans(text)]
    return tuple(sentence for sentence in found if _is_prose(sentence))


def _is_prose(sentence: str) -> bool:
    words = sentence.split()
    letters = sum(letter.isalpha() or letter == " " for letter in sentence)
    whole = sentence[-1] in ".!" and not _QUESTION.search(sentence)
    clean = sentence[0].isupper() and not any(mark in sentence for mark in _NOT_PROSE)
    return clean and whole and _SHORTEST <= len(words) <= _LONGEST and letters > 0.85 * len(sentence)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CourseError(f"{path} cannot be read: {error.strerror or error}.", "Name the folder of public data.") from error
