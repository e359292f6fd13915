"""How the rules about conduct read: wordings.toml, held against what a writer says, not against what he quotes or reports."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

WORDINGS = Path(__file__).with_name("wordings.toml")
_LONGEST = 20_000  # characters that are read: what is longer is a pasted file, and no writer speaks first behind all of it

# One character for one, so that places in the plain text are places in the text.
_PLAIN = str.maketrans({**dict.fromkeys("’‘ʼ´", "'"), **dict.fromkeys("“”„", '"'), "\u00a0": " "})
_QUOTED = re.compile(
    r'"[^"\n]{0,500}"|«[^»\n]{0,500}»|```.{0,5000}?```|`[^`\n]{0,500}`'
    r"|(?<!\w)'(?:[^'\n]|'(?=\w)){1,200}'(?!\w)|^>[^\n]*",
    re.DOTALL | re.MULTILINE,
)
_QUOTATION = 0.7  # share of the text from which on quotation marks are round what the writer says himself
_SAYS = (
    r"says?|said|saying|writes?|wrote|claims?|claimed|cries|cried|sings?|sang|thinks?|thought|whispers?|shouts?|screams?"
    r"|sagt|sagte|schreibt|schrieb|dit|écrit|dice|dijo|escribe|escribió"
)
_EXAMPLE = (
    r"classif\w*|sentiments?|labels?|labelled|annotat\w*|translat\w*|pars(?:e|ing)|tokeni[sz]\w*|embed\w*|detect\w*|example"
    r"|sentences?|phrases?|utterances?|tweets?|posts?|comments?|messages?|prompts?|inputs?|line|lyrics?|quot\w+"
    r"|satz|übersetz\w*|traduis|frase|traduce|oración"
)
_FRAME = re.compile(
    rf"(?<!\bi)(?<!\bi have)(?<!\bich)(?<!\bje)(?<!\byo) (?:{_SAYS})(?:,|:| that| dass| que)?\s*$"
    rf"|\b(?:{_EXAMPLE})\b[^.!?]{{0,40}}[:,]\s*$",
    re.IGNORECASE,
)
_BEFORE = 100  # characters in which a frame is looked for


@dataclass(frozen=True, slots=True)
class Group:
    """Wordings of one gravity.

    Attributes:
        score: 0 to 1.
        reason: one sentence in plain words.
        wordings: each as the file has it, its parts put in.
    """

    score: float
    reason: str
    wordings: tuple[str, ...]

    def pattern(self) -> re.Pattern[str]:
        """All wordings in one."""
        return _compiled("|".join(f"(?:{wording})" for wording in self.wordings))


@cache
def groups(rule: str) -> tuple[Group, ...]:
    """The groups of "distress", "abuse" or "graded", the gravest first."""
    file = tomllib.loads(WORDINGS.read_text(encoding="utf-8"))
    return tuple(_group(entry, file["parts"]) for entry in file[rule])


def own_words(text: str) -> str:
    """The text with plain apostrophes and quotation marks, and blanks in place of quotations and code.

    It is as long as the text, up to 20,000 characters. Quotation marks round most of the text are no quotation.
    """
    plain = text[:_LONGEST].translate(_PLAIN)
    blanked = _QUOTED.sub(lambda found: " " * len(found[0]), plain)
    return blanked if _letters(blanked) > (1 - _QUOTATION) * _letters(plain) else plain.replace('"', " ")


def said(group: Group, words: str) -> Iterator[re.Match[str]]:
    """Where the wordings stand in own_words, unless what stands before makes them somebody else's or an example."""
    for found in group.pattern().finditer(words):
        if not _FRAME.search(words[max(0, found.start() - _BEFORE) : found.start()]):
            yield found


def _group(entry: dict[str, Any], parts: dict[str, str]) -> Group:
    return Group(entry["score"], entry["reason"], tuple(_whole(wording, parts) for wording in entry["wordings"]))


def _whole(wording: str, parts: dict[str, str]) -> str:
    """A wording with its parts, which may have parts themselves, on one line."""
    while (filled := re.sub(r"<([a-z_]+)>", lambda found: parts[found[1]], wording)) != wording:
        wording = filled
    return re.sub(r"\n\s*", "", wording)


@cache
def _compiled(wording: str) -> re.Pattern[str]:
    return re.compile(wording.replace(" ?", r"\s*").replace(" ", r"\s+"), re.IGNORECASE | re.MULTILINE)


def _letters(text: str) -> int:
    return sum(map(str.isalpha, text))
