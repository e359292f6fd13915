"""Lines of PDF pages to headings, paragraphs, list items and code. Knows nothing of PDF files."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from knowledge.passage import BlockKind

HYPHEN = "\x02"  # PDFium's sign for a hyphen at the end of a line, which it joins to the next one

_ITEM = re.compile(r"[\u2022\u2023\u25aa\u25cf\u25e6\u2043\u2219\uf0b7\u2013*-] |\(?(?:\d{1,2}|[a-z])[.)] ")
_NUMBERING = re.compile(r"\A(?:chapter|section|part|unit|lesson)?\s*[\divxlc]*(?:\.\d+)*[.:)]?\s+", re.IGNORECASE)
_LEADERS = re.compile(r"(?:\. ?){4}")  # dots to the page number in a table of contents
_LONE_NUMBER = re.compile(r"[\W_]*(?:\d{1,4}|[ivxlc]{1,6})[\W_]*")
_LARGER = 1.12  # a heading's size over the body's
_LONGEST_HEADING = 150


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a page, measured in points with y upwards.

    Attributes:
        size: font size on the page, rounded to half points.
        left: of its first character; `width` is that character's.
        top, bottom: base line of its first and last character, which differ where lines were joined at a hyphen.
        code: set in a monospaced font throughout.
    """

    text: str
    size: float
    left: float
    top: float
    bottom: float
    width: float
    code: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """What becomes one block."""

    kind: BlockKind
    text: str
    level: int = 0
    is_item: bool = False


def without_furniture(pages: list[list[Line]]) -> list[list[Line]]:
    """Drop running headers, footers and page numbers.

    A line goes if it is among the two highest or two lowest of its page, is neither code nor larger than the body, and the same
    words stand at the edge of at least three pages and two fifths of all pages, where numbers may count with the pages. A mere
    number at the edge goes from any document of more than two pages.
    """
    body = _body_size(pages)
    edges = [_edges(lines, body) for lines in pages]
    counts = Counter(key for page, lines in enumerate(edges) for key in {key for line in lines for key in _keys(line, page)})
    needed = max(3, 0.4 * len(pages))
    repeated = {key for key, count in counts.items() if count >= needed}

    def is_furniture(line: Line, page: int) -> bool:
        lone_number = len(pages) > 2 and _LONE_NUMBER.fullmatch(line.text) is not None
        return lone_number or not repeated.isdisjoint(_keys(line, page))

    return [
        [line for line in lines if not (line in edges[page] and is_furniture(line, page))] for page, lines in enumerate(pages)
    ]


def _edges(lines: list[Line], body: float) -> list[Line]:
    by_height = sorted(lines, key=lambda line: line.top)
    return [line for line in by_height[:2] + by_height[-2:] if line.size < _LARGER * body and not line.code]


def _keys(line: Line, page: int) -> list[str]:
    """Return what a running line may have in common with those of other pages: each number as it is, or less the page's."""
    keys = [""]
    for part in re.split(r"(\d{1,4})", " ".join(line.text.lower().split())[:_LONGEST_HEADING], maxsplit=3):
        forms = [part, f"page{int(part) - page:+}"] if part.isdecimal() else [part]
        keys = [key + form for key in keys for form in forms]
    return keys


def _body_size(pages: list[list[Line]]) -> float:
    """Return the size in which most characters are set."""
    sizes: Counter[float] = Counter()
    for lines in pages:
        for line in lines:
            sizes[line.size] += len(line.text)
    return sizes.most_common(1)[0][0] if sizes else 0.0


def find_headings(pages: list[list[Line]], outline: list[tuple[int, int, str]]) -> dict[Line, int]:
    """Return the level of every line that is a heading: by the outline or by font size, whichever finds more.

    The outline has (page from 0, level from 1, title) for each bookmark.
    """
    titles = {(page, _comparable(title)): min(level, 6) for page, level, title in outline}
    by_outline = {
        line: titles[number, words]
        for number, lines in enumerate(pages)
        for line in lines
        if (words := _comparable(line.text)) and (number, words) in titles
    }
    body = _body_size(pages)
    large = [line for lines in pages for line in lines if _could_head(line) and line.size >= _LARGER * body]
    ranks = {size: rank for rank, size in enumerate(sorted({line.size for line in large}, reverse=True), 1)}
    by_size = {line: min(ranks[line.size], 6) for line in large}
    return by_outline if len(by_outline) >= len(by_size) else by_size


def _comparable(text: str) -> str:
    return re.sub(r"\W+", "", _NUMBERING.sub("", text)).lower()


def _could_head(line: Line) -> bool:
    lettered = sum(map(str.isalpha, line.text)) > 1
    return lettered and not line.code and len(line.text) <= _LONGEST_HEADING and not _LEADERS.search(line.text)


def join_hyphens(pages: list[list[Line]]) -> Callable[[str], str]:
    """Return a function that joins words broken at the end of a line.

    The hyphen stays where the document writes the word with one elsewhere ("self-attention"), and goes otherwise.
    """
    hyphenated = {word for lines in pages for line in lines for word in re.findall(r"\w+-\w+", line.text.lower())}

    def join(text: str) -> str:
        def mend(match: re.Match[str]) -> str:
            kept = f"{match[1]}-{match[2]}"
            return kept if kept.lower() in hyphenated else match[1] + match[2]

        return re.sub(rf"(\w+){HYPHEN}(\w+)", mend, text).replace(HYPHEN, "-")

    return join


def pieces(lines: list[Line], headings: dict[Line, int], join: Callable[[str], str]) -> Iterator[Piece]:
    """Yield the headings, paragraphs, list items and code of one page in order."""
    group: list[Line] = []
    for line in lines:
        if group and _starts_anew(group[-1], line, headings):
            yield _piece(group, headings, join)
            group = []
        group.append(line)
    if group:
        yield _piece(group, headings, join)


def _starts_anew(before: Line, line: Line, headings: dict[Line, int]) -> bool:
    if headings.get(before) != headings.get(line) or before.code != line.code:
        return True
    if line.code:
        return False
    drop = before.bottom - line.top
    if drop < 0:  # a new column: the paragraph goes on if its sentence does
        return before.text[-1] in ".!?:" or not line.text[0].islower()
    return (
        drop > 1.7 * max(before.size, line.size)
        or abs(before.size - line.size) > 0.1 * line.size
        or (line not in headings and _ITEM.match(line.text) is not None)
    )


def _piece(group: list[Line], headings: dict[Line, int], join: Callable[[str], str]) -> Piece:
    if group[0].code:
        margin = min(line.left for line in group)
        texts = (line.text.replace(HYPHEN, "-\n") for line in group)
        indents = (round((line.left - margin) / line.width) if line.width > 0 else 0 for line in group)
        return Piece("code", "\n".join(" " * indent + text for indent, text in zip(indents, texts, strict=True)))
    text = join(" ".join(line.text for line in group))
    if level := headings.get(group[0]):
        return Piece("heading", text, level)
    return Piece("text", text, is_item=_ITEM.match(text) is not None)
