"""Questions to tune and to judge an embedder with: made from the course's own sentences by rule, or read from a file.

A chat model is not needed: knowledge/questions.py makes questions that relate two subjects, that stop half-way through a
sentence (cloze) or that are keywords; definitions and headings are asked for here. Questions of people come from files and are
never learnt from unless they are given for that.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from knowledge.errors import CourseError
from knowledge.lexical import terms
from knowledge.passage import Passage
from knowledge.questions import questions_from
from knowledge.sentences import sentence_spans

# With evals, which is beside this package but may not be imported: questions that people wrote for the starter course.
CASES = Path(__file__).parents[2] / "evals" / "cases"
_DEFINITION = re.compile(r"(?P<article>An?|The) (?P<what>[a-z][\w' -]{2,40}?)(?: \([^)]*\))? is (?:an?|the) [^|`=]{20,}[.]")
_PER_HEADING = 2  # passages below a heading that is asked for: of more, each would be the wrong answer to most of it


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with the passages that answer it.

    Attributes:
        text: of the question.
        answers: ids of passages; none if the course does not cover it.
        lesson: source of their document; empty if there is none.
        subject: stemmed terms of what it is about, where a rule knows; a passage that has them all may answer it too.
        kind: the rule that made it, or "asked" of people's.
    """

    text: str
    answers: tuple[str, ...]
    lesson: str
    subject: frozenset[str] = frozenset()
    kind: str = "asked"


def held_lessons(passages: Sequence[Passage], share: float, seed: int) -> frozenset[str]:
    """Sources of the documents that are not learnt from: a share of them, at least one, the same for the same seed.

    Raises:
        CourseError: there are fewer than three documents.
    """
    sources = sorted({passage.source for passage in passages})
    if len(sources) < 3:
        raise CourseError(
            f"The course has only {len(sources)} documents.", "Add material: three are the least that can be split."
        )
    return frozenset(Random(seed).sample(sources, max(1, round(share * len(sources)))))


def made_questions(passages: Sequence[Passage], count: int, seed: int) -> list[Asked]:
    """Up to `count` questions from passages, each text once, those of definitions and headings first and then the others."""
    lessons = {passage.id: passage.source for passage in passages}
    found = list({asked.text.lower(): asked for asked in (*_definitions(passages), *_headings(passages))}.values())
    Random(seed).shuffle(found)
    found = found[: count // 2]
    made = questions_from(passages, count - len(found), seed)
    found += [Asked(q.text, (q.passage_id,), lessons[q.passage_id], q.subject, q.kind) for q in made]
    return list({asked.text.lower(): asked for asked in found}.values())


def _definitions(passages: Sequence[Passage]) -> Iterator[Asked]:
    for passage in passages:
        for start, end in sentence_spans(passage.text):
            if (found := _DEFINITION.fullmatch(" ".join(passage.text[start:end].split()))) and (
                subject := terms(found["what"])
            ):
                yield Asked(
                    f"What is {found['article'].lower()} {found['what']}?",
                    (passage.id,),
                    passage.source,
                    frozenset(subject),
                    "definition",
                )


def _headings(passages: Sequence[Passage]) -> Iterator[Asked]:
    below = Counter((passage.source, passage.heading) for passage in passages)
    for passage in passages:
        subject = frozenset(terms(" ".join(passage.heading[-1:])))
        if len(passage.heading) > 1 and len(subject) > 1 and below[passage.source, passage.heading] <= _PER_HEADING:
            text = f"What should I know about {passage.heading[-1]}?"
            yield Asked(text, (passage.id,), passage.source, subject, "heading")


def read_questions(path: Path, passages: Sequence[Passage]) -> list[Asked]:
    """Questions of a file of JSON lines with `question` and `evidence`, a text that stands verbatim in the course.

    Without evidence a question counts as not covered; one whose evidence is not in the course is left out.

    Raises:
        CourseError: the file cannot be read, or a line is no such object.
    """
    squeezed = {passage.id: (passage, " ".join(passage.text.split())) for passage in passages}
    asked = []
    for number, line in enumerate(_lines(path), start=1):
        try:
            row = json.loads(line)
            question, evidence = str(row["question"]), " ".join(str(row.get("evidence") or "").split())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CourseError(
                f"{path}, line {number} is not a question: {error}.", 'Write {"question": ..., "evidence": ...}.'
            ) from error
        found = [passage for passage, text in squeezed.values() if evidence and evidence in text]
        if found or not evidence:
            asked.append(Asked(question, tuple(p.id for p in found), found[0].source if found else ""))
    return asked


def starter_cases(passages: Sequence[Passage]) -> list[Asked]:
    """What people asked about the starter course, as far as its lessons are in this course; none for other courses."""
    files = (CASES / name for name in ("starter.jsonl", "starter_dev.jsonl"))
    found = [asked for path in files if path.is_file() for asked in read_questions(path, passages)]
    return found if any(asked.answers for asked in found) else []


def rows_of(name: str) -> list[dict[str, object]]:
    """The rows of a file of cases that ships with the evaluations; none where they are not installed."""
    path = CASES / name
    return [json.loads(line) for line in _lines(path)] if path.is_file() else []


def _lines(path: Path) -> Iterable[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise CourseError(f"{path} cannot be read: {error}.", "Give a UTF-8 file of JSON lines.") from error
