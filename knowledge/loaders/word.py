"""Word documents (.docx): headings from styles, paragraphs, lists, code and tables in document order."""

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from knowledge.loaders.archive import open_archive
from knowledge.loaders.builder import TextBuilder
from knowledge.loaders.ooxml import local, paragraph_text, table_text
from knowledge.loaders.word_unseen import take_unseen
from knowledge.passage import Document

_CODE_STYLE = re.compile(r"code|source code|html preformatted|macro", re.IGNORECASE)
_DEEPEST_STYLE = 20


def load_docx(path: Path, data: bytes, source: str) -> Document:
    """Load a Word document.

    Raises:
        UnreadableFile: damaged, password-protected, a zip bomb, or no text.
    """
    open_archive(data, path.name).close()
    import docx

    document = docx.Document(BytesIO(data))
    styles = {style.style_id: style for style in document.styles}
    builder = TextBuilder()
    for hidden, how in take_unseen(document.element.body, styles, _background(document.element)):
        builder.hide(hidden, how)
    code: list[str] = []
    after_item = False
    for element in _content(document.element.body):
        if local(element) == "tbl":
            kind, text, level = "table", table_text(_rows(element)), 0
        else:
            kind, level = _kind(element, styles)
            text = paragraph_text(element)
        if kind == "code":
            code.append(text)
            continue
        builder.add("code", "\n".join(code))
        code.clear()
        if kind == "heading":
            builder.add("heading", text, level=level)
        elif kind == "table":
            builder.add("table", text)
        elif kind == "item":
            builder.add("text", f"- {text}" if text.strip() else "", tight=after_item)
        elif kind == "text":
            builder.add("text", text)
        after_item = kind == "item"
    builder.add("code", "\n".join(code))
    return builder.document(path, data, source, fallback=document.core_properties.title or "")


def _background(document: Any) -> str:
    """The colour of the paper; Word has none for white."""
    colour = next((dict(element.attrib) for element in document if local(element) == "background"), {})
    return next((value for name, value in colour.items() if name.endswith("}color") and value.upper() != "FFFFFF"), "")


def _content(body: Any) -> Iterator[Any]:
    """Yield paragraphs and tables in order, also those in content controls and text boxes; a one-cell table is a mere frame."""
    stack = list(reversed(body))
    while stack:
        element = stack.pop()
        name = local(element)
        if name == "p":
            yield element
            boxes = [box for box in element.iter() if local(box) == "txbxContent"]
            kept = [box for box in boxes if not any(local(above) == "Fallback" for above in box.iterancestors())]
            stack.extend(child for box in reversed(kept) for child in reversed(box))
        elif name == "tbl":
            cells = [cell for row in _rows(element) for cell in row]
            if len(cells) == 1:
                stack.extend(reversed(cells[0]))
            else:
                yield element
        elif name in ("sdt", "sdtContent", "ins", "customXml", "smartTag"):
            stack.extend(reversed(element))


def _rows(table: Any) -> list[list[Any]]:
    rows = [row for row in table.iter() if local(row) == "tr" and _owner(row) is table]
    return [[cell for cell in row.iter() if local(cell) == "tc" and _owner(cell) is table] for row in rows]


def _owner(element: Any) -> Any:
    """Return the table that a row or cell belongs to: the nearest one above."""
    return next((above for above in element.iterancestors() if local(above) == "tbl"), None)


def _kind(paragraph: Any, styles: dict[str, Any]) -> tuple[str, int]:
    """Return "heading" with its level, "item", "code", "skip" or "text", by the style and the styles it builds on."""
    properties = paragraph.pPr
    if properties is not None and (level := _outline_level(properties)):
        return "heading", level
    style = styles.get(paragraph.style)
    item = properties is not None and properties.numPr is not None
    for _ in range(_DEEPEST_STYLE):  # styles may build on each other in a circle
        if style is None:
            break
        name = (style.name or "").lower()
        if heading := re.fullmatch(r"heading ([1-9])", name):
            return "heading", min(int(heading[1]), 6)
        if name == "title":
            return "heading", 1
        if name.startswith("toc "):
            return "skip", 0
        if _CODE_STYLE.match(name):
            return "code", 0
        if style.element.pPr is not None and (level := _outline_level(style.element.pPr)):
            return "heading", level
        item = item or name.startswith("list")
        style = styles.get(style.element.basedOn_val) if style.element.basedOn_val else None
    return ("item" if item else "text"), 0


def _outline_level(properties: Any) -> int:
    """Return 1 to 6 for an outline level, 0 for body text."""
    for element in properties:
        if local(element) == "outlineLvl":
            value = int(next(iter(element.attrib.values()), 9))
            return min(value + 1, 6) if 0 <= value <= 8 else 0
    return 0
