"""Source code: the line that opens a top-level definition is a heading, the rest is code."""

import ast
import re
import warnings
from collections.abc import Iterator
from itertools import accumulate, pairwise
from pathlib import Path

from knowledge.loaders.builder import make_document
from knowledge.loaders.plain import paragraphs
from knowledge.loaders.text import read_text
from knowledge.passage import Block, Document

_C = (
    r"(?:class|struct|union|enum|namespace|template)\b"
    r"|(?!(?:else|if|for|while|switch|return|typedef|using)\b)[A-Za-z_][\w:<>,*&~ \t]*\([^;]*$"
)
_JS = (
    r"(?:export\s+)?(?:default\s+)?(?:declare\s+)?(?:abstract\s+)?(?:async\s+)?"
    r"(?:(?:function|class|interface|enum|namespace|type)\b|(?:const|let|var)\s+\w+\s*=\s*(?:async\s*)?(?:function\b|\(|\w+\s*=>))"
)
# What opens a definition at the start of a line. A miss costs a heading, never text.
_DEFINITIONS = {
    ".py": r"(?:async\s+def|def|class)\s",
    ".js": _JS,
    ".ts": _JS,
    ".java": r"(?:(?:public|protected|private|abstract|final|static|sealed)\s+)*(?:class|interface|enum|record|@interface)\s",
    ".c": _C,
    ".cpp": _C,
    ".h": _C,
    ".go": r"(?:func|type)\s",
    ".rs": r"(?:pub(?:\([^)]*\))?\s+)?(?:(?:async|const|unsafe|extern)\s+)*(?:fn|struct|enum|trait|impl|mod|macro_rules!)\b",
    ".rb": r"(?:class|module|def)\s",
    ".r": r"[\w.]+\s*(?:<-|=)\s*function\b",
    ".jl": r"(?:function|struct|mutable\s+struct|abstract\s+type|module|macro)\s|\w+!?\([^=]*\)\s*=[^=]",
    ".sh": r"function\s+[\w-]+|[\w-]+\s*\(\)",
    ".sql": r"(?i:create)\s+(?i:or\s+replace\s+)?(?i:temp(?:orary)?\s+)?(?i:table|view|function|procedure|trigger|index)\b",
    ".m": r"(?:function|classdef)\b|[-+]\s*\(|@(?:interface|implementation|protocol)\b",
}
_LONGEST_LINE = 300


def load_code(path: Path, data: bytes, source: str) -> Document:
    """Load a source file; without definitions its paragraphs are blocks of code.

    Raises:
        UnreadableFile: binary content, no known encoding, or no text.
    """
    text = read_text(data, path.name)
    blocks = tuple(_blocks(text, _definitions(text, path.suffix.lower())))
    return make_document(path, data, source, text, blocks, path.name)


def _definitions(text: str, suffix: str) -> list[int]:
    """Return the numbers, from 0, of the lines that open a top-level definition."""
    if suffix == ".py":
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # invalid escapes in somebody's course are not our news
                body = ast.parse(text).body
            return [node.lineno - 1 for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            pass  # Python 2, a template or an exercise with gaps: its lines still tell
    opens = re.compile(_DEFINITIONS[suffix])
    return [number for number, line in enumerate(text.split("\n")) if opens.match(line[:_LONGEST_LINE])]


def _blocks(text: str, definitions: list[int]) -> Iterator[Block]:
    if not definitions:
        for block in paragraphs(text):
            yield Block("code", _line_start(text, block.start), block.end)
        return
    starts = list(accumulate((len(line) + 1 for line in text.split("\n")), initial=0))
    edges = [*(starts[number] for number in definitions), len(text)]
    yield from _body(text, 0, edges[0])
    for start, end in pairwise(edges):
        stop = text.find("\n", start, end)
        stop = end if stop < 0 else stop
        yield Block("heading", start, start + len(text[start:stop].rstrip()), level=1)
        yield from _body(text, stop, end)


def _body(text: str, start: int, end: int) -> Iterator[Block]:
    while start < end and text[start] == "\n":
        start += 1
    if body := text[start:end].rstrip():
        yield Block("code", start, start + len(body))


def _line_start(text: str, offset: int) -> int:
    return text.rfind("\n", 0, offset) + 1
