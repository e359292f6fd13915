"""Jupyter notebooks: Markdown cells with their structure, code cells as code with their short outputs.

Read as plain JSON: nbformat takes two seconds to import, and refuses notebooks that break its schema in harmless ways.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from knowledge.errors import UnreadableFile
from knowledge.loaders.builder import INVISIBLE, TextBuilder
from knowledge.loaders.markdown import markdown_blocks, without_embedded
from knowledge.loaders.markdown_unseen import without_unseen
from knowledge.loaders.text import decode, mend, smuggled
from knowledge.passage import Document

_LONGEST_OUTPUT = 500


def load_notebook(path: Path, data: bytes, source: str) -> Document:
    """Load a notebook of format 4, or 3 with its worksheets; cells are numbered from 1.

    Raises:
        UnreadableFile: damaged, or no text.
    """
    try:
        notebook = json.loads(decode(data, path.name))
        cells = notebook["cells"] if "cells" in notebook else notebook["worksheets"][0]["cells"]
        kinds = [cell["cell_type"] for cell in cells]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise UnreadableFile(f"{path.name} is not a whole notebook.", "Open it in Jupyter and save it anew.") from error
    builder = TextBuilder()
    for number, (kind, cell) in enumerate(zip(kinds, cells, strict=True), 1):
        text = _joined(cell.get("source", cell.get("input")))
        if kind == "heading":  # format 3
            builder.add("heading", text, level=cell.get("level", 1), cell=number)
        elif kind == "markdown":
            _add_markdown(builder, text, number)
        elif kind == "code" and text.strip():
            # One block: an output means nothing without the code that made it.
            builder.add("code", "\n\nOutput:\n".join([text, *_outputs(cell)]), cell=number)
    return builder.document(path, data, source)


def _add_markdown(builder: TextBuilder, raw: str, cell: int) -> None:
    for words in smuggled(raw):
        builder.hide(words, INVISIBLE)
    text, hidden = without_unseen(without_embedded(mend(raw)))
    for found in hidden:
        builder.hide(found.text, found.how, usual=found.usual)
    end = 0
    for block in markdown_blocks(text):
        tight = end > 0 and "\n\n" not in text[end : block.start]
        builder.add(block.kind, text[block.start : block.end], level=block.level, cell=cell, tight=tight)
        end = block.end


def _outputs(cell: dict[str, Any]) -> Iterator[str]:
    """Yield what the cell printed or returned, where it is short; pictures, errors and bare object names are left out."""
    for output in cell.get("outputs") or ():
        text = _joined(output.get("text") or (output.get("data") or {}).get("text/plain")).strip()
        is_object = text.startswith("<") and text.endswith(">")
        if text and len(text) <= _LONGEST_OUTPUT and not is_object:
            yield text


def _joined(text: object) -> str:
    """Return a multi-line string of the notebook format: a string, or a list of lines."""
    if isinstance(text, list):
        return "".join(part for part in text if isinstance(part, str))
    return text if isinstance(text, str) else ""
