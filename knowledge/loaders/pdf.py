"""PDF: text with page numbers, headings from the outline or from font sizes."""

import ctypes
import re
from itertools import groupby
from pathlib import Path
from statistics import median
from threading import Lock
from typing import TYPE_CHECKING

from knowledge.errors import UnreadableFile
from knowledge.loaders.builder import TextBuilder
from knowledge.loaders.pdf_layout import Line, find_headings, join_hyphens, pieces, without_furniture
from knowledge.loaders.pdf_unseen import unseen
from knowledge.passage import Document

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfTextPage

_ONE_AT_A_TIME = Lock()  # PDFium is not thread-safe
_MONOSPACED = re.compile(r"mono|courier|consol|code|typewriter|cmtt|menlo|monaco|inconsolata", re.IGNORECASE)
_NO_TITLE = re.compile(
    r"untitled|anonymous|unspecified|microsoft|powerpoint|\.(?:docx?|pptx?|tex|dvi|indd|pdf|odt|rtf)$|[/\\]|\A\W*\d*\W*\Z",
    re.IGNORECASE,
)
_OUTLINE_DEPTH = 6


def load_pdf(path: Path, data: bytes, source: str) -> Document:
    """Load a PDF; running headers and footers are left out.

    Raises:
        UnreadableFile: damaged, cut off, password-protected, without a text layer, or with fonts that name no characters.
    """
    builder = TextBuilder()
    with _ONE_AT_A_TIME, _open(data, path.name) as pdf:
        pages = [_lines(pdf, number, path.name, builder) for number in range(len(pdf))]
        outline = _outline(pdf)
        title = pdf.get_metadata_value("Title").strip()
    _check_text(pages, path.name)
    pages = without_furniture(pages)
    _check_text(pages, path.name)
    headings = find_headings(pages, outline)
    words = join_hyphens(pages)
    for number, lines in enumerate(pages, 1):
        after_item = False
        for piece in pieces(lines, headings, words):
            builder.add(piece.kind, piece.text, level=piece.level, page=number, tight=piece.is_item and after_item)
            after_item = piece.is_item
    return builder.document(path, data, source, "" if len(title) < 3 or _NO_TITLE.search(title) else title)


def _open(data: bytes, name: str) -> "PdfDocument":
    from pypdfium2 import PdfDocument, PdfiumError
    from pypdfium2.raw import FPDF_ERR_PASSWORD

    try:
        pdf = PdfDocument(data)
    except PdfiumError as error:
        if error.err_code == FPDF_ERR_PASSWORD:
            raise UnreadableFile(f"{name} is password-protected.", "Save a copy without the password.") from error
        if b"%PDF-" not in data[:1024]:
            raise UnreadableFile(f"{name} is not a PDF, whatever its ending says.", "Export it again as PDF.") from error
        raise UnreadableFile(f"{name} is damaged or cut off.", "Copy or download it again.") from error
    # PDFium mends a file without its end as well as it can, and silently loses pages by that.
    if b"%%EOF" not in data[-4096:] and b"startxref" not in data[-4096:]:
        pdf.close()
        raise UnreadableFile(f"{name} is cut off: its end is missing.", "Copy or download it again.")
    return pdf


def _check_text(pages: list[list[Line]], name: str) -> None:
    text = "".join(line.text for lines in pages for line in lines)
    if not any(char.isalnum() for char in text):
        raise UnreadableFile(
            f"{name} has no text layer; it was probably scanned.", "Run OCR first, for example: ocrmypdf IN.pdf OUT.pdf"
        )
    unknown = sum(char in "\0\ufffd" or "\ue000" <= char <= "\uf8ff" for char in text)
    if unknown > 0.3 * len(text):
        raise UnreadableFile(
            f"{name} uses fonts that do not say which characters they draw.",
            "Run OCR instead, for example: ocrmypdf --force-ocr IN.pdf OUT.pdf",
        )


def _outline(pdf: "PdfDocument") -> list[tuple[int, int, str]]:
    """Return (page from 0, level from 1, title) for every bookmark that leads to a page."""
    entries = []
    for bookmark in pdf.get_toc(max_depth=_OUTLINE_DEPTH):
        target = bookmark.get_dest()
        page = target.get_index() if target else None
        if page is not None:
            entries.append((page, bookmark.level + 1, bookmark.get_title()))
    return entries


def _lines(pdf: "PdfDocument", number: int, name: str, builder: TextBuilder) -> list[Line]:
    """Return the visible lines of a page, from 0, in reading order; what is hidden is told to `builder`."""
    from pypdfium2 import PdfiumError, raw

    try:
        page = pdf[number]
        text_page = page.get_textpage()
    except PdfiumError as error:
        raise UnreadableFile(f"{name} is damaged: page {number + 1} cannot be read.", "Export it again.") from error
    codes = [raw.FPDFText_GetUnicode(text_page, index) for index in range(text_page.count_chars())]
    hidden = list(unseen(page, text_page, codes))
    for how, group in groupby(hidden, key=lambda found: found[2]):
        builder.hide(" ".join(_characters(codes[start:end]) for start, end, _ in group), how, page=number + 1)
    for start, end, _ in hidden:
        codes[start:end] = [32] * (end - start)
    lines = []
    start = 0
    for index, code in enumerate([*codes, 10]):
        if code in (10, 13):
            seen = [i for i in range(start, index) if not chr(codes[i]).isspace()]
            if seen:
                lines.append(_line(text_page, _characters(codes[seen[0] : seen[-1] + 1]), seen))
            start = index + 1
    text_page.close()
    page.close()
    return lines


def _characters(codes: list[int]) -> str:
    """Return UTF-16 code units, or whole code points, as text."""
    return "".join(map(chr, codes)).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _line(page: "PdfTextPage", text: str, seen: list[int]) -> Line:
    """Measure a line at its first, middle and last visible character; `seen` are the visible ones' indices."""
    from pypdfium2 import raw

    box, matrix = raw.FS_RECTF(), raw.FS_MATRIX()
    samples = (seen[0], seen[len(seen) // 2], seen[-1])
    sizes, heights, fonts = [], [], []
    left = width = 0.0
    for index in samples:
        raw.FPDFText_GetMatrix(page, index, matrix)
        raw.FPDFText_GetLooseCharBox(page, index, box)
        if index == seen[0]:
            left, width = box.left, box.right - box.left
        # Many programs write size 1 and scale it by the matrix.
        sizes.append(raw.FPDFText_GetFontSize(page, index) * (matrix.c**2 + matrix.d**2) ** 0.5)
        heights.append(matrix.f)
        fonts.append(_font(page, index))
    code = all(_MONOSPACED.search(font) for font in fonts)
    return Line(text, round(median(sizes) * 2) / 2, left, heights[0], heights[-1], width, code)


def _font(page: "PdfTextPage", index: int) -> str:
    from pypdfium2 import raw

    name = ctypes.create_string_buffer(128)
    raw.FPDFText_GetFontInfo(page, index, name, len(name), None)
    return name.value.decode("utf-8", "replace")
