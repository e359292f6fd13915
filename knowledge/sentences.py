"""Where sentences begin and end, in course text and in streamed answers.

Rule-based and language-light: full stops inside numbers, code spans, initials and common abbreviations do not end a
sentence; list items, table rows and blank lines do. It misses sentences that begin in lower case.
"""

import re
from collections.abc import Iterator

_ABBREVIATIONS = frozenset({
    "cf", "vs", "al", "fig", "figs", "eq", "eqs", "nos", "pp", "dr", "mr", "mrs", "ms", "prof", "st", "approx", "resp",
    "dept", "ed", "eds", "jr", "sr", "inc", "ca", "ph.d",
})  # fmt: skip
_BEFORE_NUMBERS = frozenset({"ch", "no", "p", "sec", "vol"})  # words of their own, too: "The answer is no."
_INITIALS = re.compile(r"[^\W\d_](?:\.[^\W\d_])+")  # U.S, but also e.g and i.e
# A closing mark, optional closing quotes or brackets, white space, then the first letter or digit of what follows.
_END = re.compile(r"""(?<![.!?…])[.!?…]++["'”’)\]*_]*+(?=\s+["'“‘(\[*_`]*([^\W_]))""")
_HARD_BREAK = re.compile(r"\n\s*\n|\n(?=\s*(?:[-*+]\s|•|\d{1,3}[.)]\s|\||#{1,6}\s|```))")
_HEADING = re.compile(r"\s*#{1,6}\s.*")
_CODE_SPAN = re.compile(r"`[^`\n]*`")
_CLOSING = re.compile(r"[.!?…]")
_LAST_WORD = re.compile(r"([\w.]+)\W*$")
_LONGEST_WORD = 40  # how far back the last word is looked for: to the sentence's start takes quadratic time


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Half-open character spans of the sentences of `text`, without surrounding white space, in order."""
    spans = []
    without_code = _CODE_SPAN.sub(lambda span: _CLOSING.sub("x", span[0]), text)
    for start, end in _hard_pieces(text):
        for left, right in _soft_pieces(without_code, start, end):
            piece = text[left:right]
            trimmed = piece.strip()
            if trimmed:
                left += len(piece) - len(piece.lstrip())
                spans.append((left, left + len(trimmed)))
    return spans


def _hard_pieces(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for match in (*_HARD_BREAK.finditer(text), None):
        end = match.start() if match else len(text)
        if heading := _HEADING.match(text, start, end):
            yield heading.span()
            start = heading.end()
        yield start, end
        start = match.end() if match else end


def _soft_pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    left = start
    for match in _END.finditer(text, start, end):
        last = text[max(left, match.end() - _LONGEST_WORD) : match.end()]
        if match[1].islower() or not _ends_sentence(last, match[1]):
            continue
        yield left, match.end()
        left = match.end()
    yield left, end


def _ends_sentence(last: str, following: str) -> bool:
    """Whether the full stop that ends `last` closes a sentence, rather than an abbreviation, an initial or a list number."""
    if not last.rstrip("\"'”’)]*_").endswith("."):
        return True
    found = _LAST_WORD.search(last)
    if found is None:
        return True
    word = found[1].rstrip(".")
    if word.lower() in _ABBREVIATIONS or _INITIALS.fullmatch(word) or (len(word) == 1 and word.isupper()):
        return False
    if word.lower() in _BEFORE_NUMBERS and following.isdigit():
        return False
    return not re.fullmatch(r"\s*\d+\.", last)
