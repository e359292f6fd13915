"""What Word and PowerPoint files share: the text of a paragraph or cell, read from its XML."""

from collections.abc import Iterable, Iterator
from typing import Any

_BREAKS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
# Fallback repeats its neighbour for old programs, moveFrom was moved away, txbxContent holds paragraphs of its own.
_SKIPPED = ("Fallback", "moveFrom", "txbxContent")


def local(element: Any) -> str:  # lxml elements carry no types
    """Return an element's tag without its namespace; empty for a comment."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def paragraph_text(paragraph: Any) -> str:
    """Return the text of a w:p or a:p with links, insertions and formulas, which the libraries' own `text` leaves out."""
    parts = []
    for element in _visible(paragraph):
        name = local(element)
        if name == "t":
            parts.append(element.text or "")
        else:
            parts.append(_BREAKS.get(name, ""))
    return "".join(parts)


def table_text(rows: Iterable[Iterable[Any]]) -> str:
    """Return rows of cell elements as lines "a | b | c"; rows of empty cells are left out."""
    lines = (" | ".join(_cell_text(cell) for cell in row) for row in rows)
    return "\n".join(line for line in lines if line.strip(" |"))


def _cell_text(cell: Any) -> str:
    return " ".join(" ".join(paragraph_text(element).split()) for element in cell.iter() if local(element) == "p").strip()


def _visible(root: Any) -> Iterator[Any]:
    stack = list(reversed(root))
    while stack:
        element = stack.pop()
        if local(element) not in _SKIPPED:
            yield element
            stack.extend(reversed(element))
