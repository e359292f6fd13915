"""PowerPoint decks (.pptx): slide titles are headings, slide numbers are pages, notes are text."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from knowledge.loaders.archive import open_archive
from knowledge.loaders.builder import TextBuilder
from knowledge.loaders.ooxml import local, paragraph_text, table_text
from knowledge.loaders.slides_unseen import SlideView
from knowledge.passage import Document


def load_pptx(path: Path, data: bytes, source: str) -> Document:
    """Load a deck; hidden slides are left out, since their author keeps them from the audience.

    Raises:
        UnreadableFile: damaged, password-protected, a zip bomb, or no text.
    """
    open_archive(data, path.name).close()
    from pptx import Presentation

    deck = Presentation(BytesIO(data))
    builder = TextBuilder()
    for number, slide in enumerate(deck.slides, 1):
        if slide.element.get("show") in ("0", "false"):
            words = " ".join(_frame_text(shape) for shape in _shapes(slide.shapes) if shape.has_text_frame)
            builder.hide(words, "on a hidden slide", page=number)
        else:
            _add_slide(builder, slide, number, SlideView(slide, deck.slide_width, deck.slide_height))
    return builder.document(path, data, source, fallback=deck.core_properties.title or "")


def _add_slide(builder: TextBuilder, slide: Any, number: int, view: SlideView) -> None:
    title = slide.shapes.title
    shapes = list(_shapes(slide.shapes))
    for shape in shapes:
        for hidden, how in view.take_unseen(shape):
            builder.hide(hidden, how, page=number)
    if title is not None:
        builder.add("heading", _frame_text(title), level=1, page=number)
    for shape in shapes:
        if title is not None and shape.shape_id == title.shape_id:
            continue
        if how := view.why_unseen(shape):
            builder.hide(_frame_text(shape) if shape.has_text_frame else "", how, page=number)
        elif shape.has_table:
            rows = [row for row in shape._element.iter() if local(row) == "tr"]
            cells = ([cell for cell in row if local(cell) == "tc"] for row in rows)
            builder.add("table", table_text(cells), page=number)
        elif shape.has_text_frame:
            builder.add("text", _frame_text(shape), page=number)
    if slide.has_notes_slide and (notes := slide.notes_slide.notes_placeholder) is not None:
        builder.add("text", _frame_text(notes), page=number)


def _shapes(shapes: Any) -> Iterator[Any]:  # python-pptx has no common type for shapes
    """Yield shapes in the order that a screen reader takes, groups opened, dates, footers and slide numbers left out."""
    from pptx.enum.shapes import MSO_SHAPE_TYPE, PP_PLACEHOLDER

    furniture = (PP_PLACEHOLDER.DATE, PP_PLACEHOLDER.FOOTER, PP_PLACEHOLDER.SLIDE_NUMBER)
    stack = list(reversed(list(shapes)))
    while stack:
        shape = stack.pop()
        if shape.shape_type == MSO_SHAPE_TYPE.GROUP:
            stack.extend(reversed(list(shape.shapes)))
        elif not (shape.is_placeholder and shape.placeholder_format.type in furniture):
            yield shape


def _frame_text(shape: Any) -> str:
    return "\n".join(paragraph_text(paragraph._p).rstrip() for paragraph in shape.text_frame.paragraphs)
