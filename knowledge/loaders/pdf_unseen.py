"""Which words of a PDF page no reader sees: invisible, transparent, in their background's colour, covered, tiny, outside.

A page with pictures or painted areas is drawn twice, with its text and without: what does not change the picture is not seen,
whatever trick hides it, and words among visible ones are caught by their colour, which is that of the picture without text.
On any other page the paper is white.
"""

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pypdfium2 import PdfPage, PdfTextPage

_SCALE, _LARGEST = 1.0, 2_000  # pixels a point; of the longer side
_FAINT = 20  # levels of 255: what differs less from its background cannot be read
_TINY = 2.0  # points; the smallest print that we found, six slides on a page, has more than 3
_SCANNED = 0.5  # share of the page that a picture covers, and of its words that are unseen, if they are the layer of an OCR
_MOST_OBJECTS = 30_000  # a page of more, such as a plot of every point, takes seconds to draw

_AREA = 4.0  # points: what is thinner is a line

Box = tuple[float, float, float, float]  # left, bottom, right and top in points
_WHITE = np.array([255, 255, 255], dtype=np.int16)


@dataclass(slots=True)
class _Word:
    """Characters [start, end) without white space, and what is known of them."""

    start: int
    end: int
    how: str = ""


def unseen(page: "PdfPage", text: "PdfTextPage", codes: Sequence[int]) -> Iterator[tuple[int, int, str]]:
    """Find the words that cannot be seen; afterwards the page must not be drawn or saved.

    Args:
        page: one page.
        text: its characters.
        codes: their code units.

    Yields:
        Half-open range of `codes` and why it is not seen, in order. A scanned page is a picture that is read through an
        invisible layer of words: those count as seen.
    """
    words = list(_words(codes))
    colours = [_colour(text, word.start) for word in words]
    boxes = [_box(text, word) for word in words]
    invisible = [_is_invisible(text, word.start) for word in words]
    behind = _painted(page, text, words, boxes)  # which makes all text invisible
    for number, (word, (colour, alpha), box) in enumerate(zip(words, colours, boxes, strict=True)):
        without, changed = behind[number] if behind else (_WHITE, 255)
        if invisible[number]:
            word.how = "drawn invisibly"
        elif _is_outside(page, box):
            word.how = "outside the page"
        elif _size(text, word.start) < _TINY:
            word.how = "too small to read"
        elif alpha < _FAINT:
            word.how = "transparent"
        elif colour is not None and np.abs(without - colour).max() < _FAINT:
            word.how = "in the colour of its background"
        elif changed < _FAINT:
            word.how = "covered"
    hidden = [word for word in words if word.how]
    if len(hidden) > _SCANNED * len(words) and _is_scan(page):
        hidden = [word for word in hidden if word.how not in ("drawn invisibly", "covered")]
    yield from ((word.start, word.end, word.how) for word in hidden)


def _words(codes: Sequence[int]) -> Iterator[_Word]:
    start = 0
    for index, code in enumerate([*codes, 32]):
        if code <= 32 or chr(code).isspace():
            if start < index:
                yield _Word(start, index)
            start = index + 1


def _object(text: "PdfTextPage", index: int) -> Any:
    from pypdfium2 import raw

    return raw.FPDFText_GetTextObject(text, index)


def _is_invisible(text: "PdfTextPage", index: int) -> bool:
    from pypdfium2 import raw

    drawn = _object(text, index)
    return bool(drawn) and raw.FPDFTextObj_GetTextRenderMode(drawn) == raw.FPDF_TEXTRENDERMODE_INVISIBLE


def _size(text: "PdfTextPage", index: int) -> float:
    from pypdfium2 import raw

    matrix = raw.FS_MATRIX()
    raw.FPDFText_GetMatrix(text, index, matrix)
    return float(raw.FPDFText_GetFontSize(text, index) * (matrix.c**2 + matrix.d**2) ** 0.5)


def _is_outside(page: "PdfPage", box: Box) -> bool:
    left, bottom, right, top = page.get_bbox()
    return bool(box[2] <= left or box[0] >= right or box[3] <= bottom or box[1] >= top)


def _painted(
    page: "PdfPage", text: "PdfTextPage", words: Sequence[_Word], boxes: Sequence[Box]
) -> list[tuple[NDArray[np.int16], int]]:
    """For each word the colour behind it and by how much it changes the picture; nothing if there is only paper behind."""
    if not _is_painted(page):
        return []
    with_text = _picture(page)
    _hide_text(text, words)
    without = _picture(page)
    height, width, _ = without.shape
    place = _Place(page, width, height)
    found = []
    for box in boxes:
        left, top, right, bottom = place.pixels(box)
        part = (slice(max(0, top), max(0, bottom)), slice(max(0, left), max(0, right)))
        before, after = with_text[part].astype(np.int16), without[part].astype(np.int16)
        changed = int(np.abs(before - after).max(initial=0))
        found.append((np.median(after.reshape(-1, 3), axis=0).astype(np.int16) if after.size else _WHITE, changed))
    return found


def _is_painted(page: "PdfPage") -> bool:
    """Whether a picture or a painted area could lie behind or over words, and the page can be drawn within a second."""
    from pypdfium2 import raw

    kinds = [raw.FPDF_PAGEOBJ_PATH, raw.FPDF_PAGEOBJ_IMAGE, raw.FPDF_PAGEOBJ_SHADING]
    if raw.FPDFPage_CountObjects(page) > _MOST_OBJECTS:
        return False
    for drawn in page.get_objects(filter=kinds, max_depth=4):
        left, bottom, right, top = drawn.get_bounds()
        if right - left > _AREA and top - bottom > _AREA:
            return True
    return False


def _box(text: "PdfTextPage", word: _Word) -> Box:
    """Left, bottom, right and top of a word on its page, in points."""
    corners = [text.get_charbox(index) for index in range(word.start, word.end)]
    lefts, bottoms, rights, tops = zip(*corners, strict=True)
    return min(lefts), min(bottoms), max(rights), max(tops)


def _colour(text: "PdfTextPage", index: int) -> tuple[NDArray[np.int16] | None, int]:
    """Red, green and blue of a character, None unless it is drawn by filling alone, and its opacity up to 255."""
    from pypdfium2 import raw

    drawn = _object(text, index)
    red, green, blue, alpha = (ctypes.c_uint() for _ in range(4))
    if not drawn or not raw.FPDFText_GetFillColor(text, index, red, green, blue, alpha):
        return None, 255
    if raw.FPDFTextObj_GetTextRenderMode(drawn) != raw.FPDF_TEXTRENDERMODE_FILL:
        return None, 255
    return np.array([red.value, green.value, blue.value], dtype=np.int16), int(alpha.value)


def _hide_text(text: "PdfTextPage", words: Sequence[_Word]) -> None:
    from pypdfium2 import raw

    for word in words:
        for index in range(word.start, word.end):
            if drawn := _object(text, index):
                raw.FPDFTextObj_SetTextRenderMode(drawn, raw.FPDF_TEXTRENDERMODE_INVISIBLE)


def _picture(page: "PdfPage") -> NDArray[np.uint8]:
    """Shape (height, width, 3)."""
    scale = min(_SCALE, _LARGEST / max(*page.get_size(), 1.0))
    pixels: NDArray[np.uint8] = page.render(scale=scale, rev_byteorder=True).to_numpy()[:, :, :3]
    return pixels


class _Place:
    """Points of a page to pixels of its picture, whatever way the page is turned."""

    def __init__(self, page: "PdfPage", width: int, height: int) -> None:
        self._page, self._width, self._height = page, width, height

    def pixels(self, box: Box) -> tuple[int, int, int, int]:
        """Left, top, right and bottom, one pixel more on each side."""
        from pypdfium2 import raw

        x, y = ctypes.c_int(), ctypes.c_int()
        corners = []
        for corner in (box[:2], box[2:]):
            raw.FPDF_PageToDevice(self._page, 0, 0, self._width, self._height, 0, *corner, x, y)
            corners.append((x.value, y.value))
        (a, b), (c, d) = corners
        return min(a, c) - 1, min(b, d) - 1, max(a, c) + 2, max(b, d) + 2


def _is_scan(page: "PdfPage") -> bool:
    from pypdfium2 import raw

    width, height = page.get_size()
    for image in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=4):
        left, bottom, right, top = image.get_bounds()
        if (right - left) * (top - bottom) >= _SCANNED * width * height:
            return True
    return False
