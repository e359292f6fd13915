"""CSV and TSV: each row a line of "column: value" pairs, so that a row is understood without the header."""

import csv
import re
from collections.abc import Iterator
from io import StringIO
from itertools import islice
from pathlib import Path

from knowledge.loaders.builder import TextBuilder, one_line
from knowledge.loaders.text import read_text
from knowledge.passage import Document

_ROWS_PER_BLOCK = 20
_SAMPLE = 8_000
_NUMBER = re.compile(r"[-+]?[\d.,\s]+(?:e[-+]?\d+)?%?", re.IGNORECASE)


def load_table(path: Path, data: bytes, source: str) -> Document:
    """Load a CSV or TSV file; a first row of numbers is data, then columns are called "column 1" and so on.

    Raises:
        UnreadableFile: binary content, no known encoding, or no text.
    """
    text = read_text(data, path.name)
    csv.field_size_limit(2**31 - 1)  # the default of 128 kB raises on long cells
    rows = ([one_line(cell) for cell in row] for row in csv.reader(StringIO(text), delimiter=_delimiter(text, path)))
    filled = (row for row in rows if any(row))
    first = next(filled, [])
    is_header = not any(_NUMBER.fullmatch(cell) for cell in first)
    columns = first if is_header else []
    lines = _lines(filled, columns) if is_header else _lines(_chain(first, filled), columns)
    builder = TextBuilder()
    while group := list(islice(lines, _ROWS_PER_BLOCK)):
        builder.add("table", "\n".join(group))
    if not builder.blocks and columns:  # nothing but a header
        builder.add("table", "; ".join(column for column in columns if column))
    return builder.document(path, data, source)


def _chain(first: list[str], rest: Iterator[list[str]]) -> Iterator[list[str]]:
    yield first
    yield from rest


def _lines(rows: Iterator[list[str]], columns: list[str]) -> Iterator[str]:
    """Yield one line a row; empty cells are left out, cells beyond the header are numbered."""
    for row in rows:
        named = ((columns[i] if i < len(columns) else "") or f"column {i + 1}" for i in range(len(row)))
        yield "; ".join(f"{name}: {cell}" for name, cell in zip(named, row, strict=True) if cell)


def _delimiter(text: str, path: Path) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    sample = text[:_SAMPLE]
    whole_lines = sample[: sample.rfind("\n") + 1] or sample
    try:
        return csv.Sniffer().sniff(whole_lines, delimiters=",;\t|").delimiter
    except csv.Error:
        return ","
