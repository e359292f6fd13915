"""One file to one Document: picks the loader by the file's ending and guards its limits."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from knowledge.errors import CourseError, UnreadableFile
from knowledge.loaders.recording import MAX_BYTES as MAX_RECORDING_BYTES
from knowledge.loaders.recording import RECORDINGS, Hear, is_recording, load_recording
from knowledge.passage import Document

MAX_BYTES = 100 * 1024 * 1024

_MARKDOWN = frozenset({".md", ".markdown", ".qmd", ".rmd"})
_PLAIN = frozenset({".txt", ".text"})
_HTML = frozenset({".html", ".htm", ".xhtml"})
_TABLE = frozenset({".csv", ".tsv"})
_CODE = frozenset({".py", ".js", ".ts", ".java", ".c", ".cpp", ".h", ".go", ".rs", ".rb", ".r", ".jl", ".sh", ".sql", ".m"})
SUFFIXES = _MARKDOWN | _PLAIN | _HTML | _TABLE | _CODE | {".pdf", ".docx", ".pptx", ".epub", ".ipynb"} | RECORDINGS

_Loader = Callable[[Path, bytes, str], Document]


def load(path: Path, source: str | None = None, hear: Hear | None = None) -> Document:
    """Read a file as a document.

    Args:
        path: an existing file of at most `MAX_BYTES` with an ending in `SUFFIXES`, in any case.
        source: identifies the document across versions; the resolved path by default.
        hear: listens to a recording; without it recordings cannot be read.

    Raises:
        UnreadableFile: whatever is wrong with the file; nothing else is raised.
    """
    loader = partial(load_recording, hear) if is_recording(path) else _loader(path)
    data = _read(path, MAX_RECORDING_BYTES, 1) if is_recording(path) else _read(path, MAX_BYTES)
    try:
        return loader(path, data, source if source is not None else str(path.resolve()))
    except CourseError:
        raise
    except Exception as error:  # the parsers of eight formats fail in their own ways on files made to break them
        reason = f"{type(error).__name__}: {error}"[:200]
        raise UnreadableFile(
            f"{path.name} is damaged or not what its ending says ({reason}).",
            "Open it in the program that made it, save it anew and try again.",
        ) from error


def _read(path: Path, most_bytes: int, wanted: int = 0) -> bytes:
    """Return the file's first `wanted` bytes, or all if that is 0; its size is looked at before anything is read."""
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise UnreadableFile(f"{path.name} is not a regular file.", "Give a file or a folder of files.")
        if size > most_bytes:
            raise UnreadableFile(
                f"{path.name} has {size / 2**20:.0f} MB; the limit is {most_bytes // 2**20} MB.",
                "Split it, or export the text only.",
            )
        with path.open("rb") as file:
            data = file.read(wanted or most_bytes)
    except FileNotFoundError as error:
        raise UnreadableFile(f"There is no file {path}.", "Check the name.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableFile(f"{path.name} cannot be opened: {reason}.", "Check its permissions.") from error
    if not data:
        raise UnreadableFile(f"{path.name} is empty.", "Leave it out, or add the text that it should hold.")
    return data


def _loader(path: Path) -> _Loader:  # noqa: C901  one branch per family keeps each library out until it is needed
    suffix = path.suffix.lower()
    if suffix in _MARKDOWN:
        from knowledge.loaders.markdown import load_markdown

        return load_markdown
    if suffix in _PLAIN:
        from knowledge.loaders.plain import load_plain

        return load_plain
    if suffix in _HTML:
        from knowledge.loaders.web import load_html

        return load_html
    if suffix in _TABLE:
        from knowledge.loaders.table import load_table

        return load_table
    if suffix in _CODE:
        from knowledge.loaders.source_code import load_code

        return load_code
    if suffix == ".pdf":
        from knowledge.loaders.pdf import load_pdf

        return load_pdf
    if suffix == ".docx":
        from knowledge.loaders.word import load_docx

        return load_docx
    if suffix == ".pptx":
        from knowledge.loaders.slides import load_pptx

        return load_pptx
    if suffix == ".epub":
        from knowledge.loaders.ebook import load_epub

        return load_epub
    if suffix == ".ipynb":
        from knowledge.loaders.notebook import load_notebook

        return load_notebook
    raise UnreadableFile(
        f"{path.name} is of a kind that cannot be read ({suffix or 'no ending'}).",
        f"Convert it to one of: {' '.join(sorted(SUFFIXES))}.",
    )
