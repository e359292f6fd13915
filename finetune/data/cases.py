"""Questions for the trial of an adapter on one's own course, drafted from the rows of held-out lessons.

They have the form of evals/cases, so `lectern eval run --cases` takes them, and a teacher can mend or replace them. They are
plainer than what people ask: one sentence of the course answers each. Base and candidate get the same ones.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from finetune.embedder.questions import rows_of
from finetune.rows import SFT_HELD, Row, read
from knowledge.lexical import terms
from knowledge.questions import FAR

CASES = "cases.jsonl"
_WORD = re.compile(r"[^\W_]+(?:[-'’.][^\W_]+)*")
_LONGEST = 3  # words of a wording: more of them would ask for the sentence itself
_WORDINGS = 4


def draft(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Cases from rows whose answer the course holds, each question once, and questions that next to no course answers.

    Args:
        rows: of held-out lessons.

    Returns:
        Objects as evals/cases/README.md describes them.
    """
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row.kind != "oracle" or row.origin.made_by != "rule" or not row.evidence:
            continue
        question, sentence = row.question, str(row.evidence[0]["quote"])
        if gold := list(wordings(question, sentence)):
            found.setdefault(
                question.lower(),
                {
                    "id": f"own-{row.id}",
                    "question": question,
                    "answerable": True,
                    "gold": gold,
                    "lesson": row.lesson,
                    "evidence": sentence,
                },
            )
    far = [{"id": f"far-{number}", "question": text, "answerable": False} for number, text in enumerate(FAR, start=1)]
    return [*found.values(), *far] if found else []


def wordings(question: str, sentence: str) -> Iterator[str]:
    """Up to four runs of two or three content words of a sentence that the question does not have, or numbers of two digits.

    An answer that holds one of them says something of what the sentence says about the question's subject.
    """
    known, given = set(terms(question)), 0
    run: list[re.Match[str]] = []
    for word in [*_WORD.finditer(sentence), None]:
        new = word is not None and bool(stems := terms(word[0])) and not known & set(stems)
        joined = bool(word and run) and sentence[run[-1].end() : word.start()] == " "  # type: ignore[union-attr]
        if run and (not new or not joined or len(run) == _LONGEST):
            if given < _WORDINGS and (len(run) > 1 or re.fullmatch(r"\d[\d.]+", run[0][0])):
                yield sentence[run[0].start() : run[-1].end()]
                given += 1
            run = []
        if new and word is not None:
            run.append(word)


def write_draft(folder: Path) -> int:
    """Write the cases of a folder of rows beside them; returns how many. A file is also written where there are none."""
    from finetune.rows import replace_text

    found = draft(read(folder / SFT_HELD, Row))
    replace_text(folder / CASES, "".join(f"{json.dumps(case, ensure_ascii=False)}\n" for case in found))
    return len(found)


def starter_is_whole(sources: Iterable[str]) -> bool:
    """Whether every lesson that the cases of the starter course are about is among the sources of an index."""
    cases = [case for name in ("starter.jsonl", "starter_dev.jsonl") for case in rows_of(name)]
    lessons = {str(case["lesson"]) for case in cases if case.get("lesson")}
    return bool(lessons) and lessons <= set(sources)
