"""Does the answer hold the gold fact, and do its numbers and names agree?

Containment is lenient about spelling ("15.4" also stands in "115.4", "GAN" in "organ"); the other two compare whole numbers and
whole words.
"""

import re
from collections.abc import Callable, Iterable
from decimal import Decimal

from evals.task import Metric, Output, Sample, Scores, rate

_NUMBER = re.compile(r"(?<![\w.])\d+(?:[,\u00a0\u2009\u202f]\d{3}(?!\d))*(?:\.\d+)?")
_WORD = re.compile(r"[^\W_]+(?:[-'’][^\W_]+)*")
_WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]

METRICS: tuple[Metric, ...] = (
    rate(
        "gold_fact", "answerable questions whose shown answer holds the gold fact in an accepted wording; refusals count as 0"
    ),
    rate(
        "gold_numbers",
        "answers to questions whose gold fact has numbers: all numbers of one accepted wording are in the answer",
    ),
    rate("gold_names", "likewise for names, that is words with a capital letter"),
)


def factuality(sample: Sample, output: Output) -> Scores:
    """`target["gold"]` is a list of accepted wordings; all scores are None without, and the last two for refusals."""
    gold: list[str] = list(sample.target.get("gold", ()))
    text: str = output["answer"]
    return {
        "gold_fact": float(holds(gold, text)) if gold else None,
        "gold_numbers": _agree(gold, text, numbers) if text else None,
        "gold_names": _agree(gold, text, names, words) if text else None,
    }


def holds(gold: Iterable[str], text: str) -> bool:
    """Whether a text holds one of the wordings, without regard to case, as evals.cases.Case.is_right."""
    return any(wording.lower() in text.lower() for wording in gold)


def numbers(text: str) -> frozenset[str]:
    """The numbers of a text in one spelling: 1,024 as 1024, 0.50 as 0.5, "three" as 3."""
    found = {_plain(number) for number in _NUMBER.findall(text)}
    return frozenset(found | {str(_WORDS.index(word)) for word in words(text) if word in _WORDS})


def names(text: str) -> frozenset[str]:
    """Words with a capital letter, in lower case."""
    return frozenset(word.lower() for word in _WORD.findall(text) if word != word.lower() and not word[0].isdigit())


def words(text: str) -> frozenset[str]:
    """Every word in lower case, words with a hyphen also in parts."""
    found = _WORD.findall(text.lower())
    return frozenset((*found, *(part for word in found for part in re.split(r"['’-]", word))))


def _agree(
    gold: Iterable[str],
    text: str,
    wanted: Callable[[str], frozenset[str]],
    given: Callable[[str], frozenset[str]] | None = None,
) -> float | None:
    """Whether all that one wording wants is in the text, or a wording that wants nothing; None if none wants anything."""
    wants = {wording: wanted(wording) for wording in gold}
    if not any(wants.values()):
        return None
    there = (given or wanted)(text)
    return float(any(found <= there if found else holds([wording], text) for wording, found in wants.items()))


def _plain(number: str) -> str:
    return format(Decimal(re.sub(r"[^\d.]", "", number)).normalize(), "f")
