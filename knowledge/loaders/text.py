"""Bytes to mended text: encoding found, mojibake undone, line ends and invisible characters put right."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

from knowledge.errors import UnreadableFile

_SIGNATURES = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"%PDF-": "a PDF",
    b"PK\x03\x04": "a zip archive (DOCX, PPTX and EPUB are such)",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x7fELF": "a program",
    b"\xd0\xcf\x11\xe0": "an old Microsoft Office file",
    b"{\\rtf": "an RTF document",
    b"SQLite format 3": "a SQLite database",
    b"OggS": "an audio file",
    b"ID3": "an audio file",
}
_BOMS = {  # the longer mark first: UTF-32 starts like UTF-16
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
# What course files are really written in; the full list of charset-normalizer guesses rarities for short texts.
_LEGACY = [
    "cp1252", "cp1251", "koi8_r", "mac_roman", "shift_jis", "euc_jp", "gb18030", "big5", "euc_kr", "cp1250", "cp1253",
    "cp1254", "cp1255", "cp1256",
]  # fmt: skip
_SAMPLE = 100_000
# A page may declare any codec that Python knows; some of those are slow on purpose-made input, or no charsets at all.
_CHARSET = re.compile(r"(?:iso|windows|cp|koi8|shift|euc|gb|big5|mac|latin)[\w-]*\Z", re.IGNORECASE)

_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c]")  # ftfy does the rarer ones, after mojibake that may hold their code
_TERMINAL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_SPACES = re.compile("[\u00a0\u2007\u202f]")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f]")
# Kept although invisible: joiners (Indic scripts, Persian, emoji) and variation selectors (emoji). Between ASCII characters
# joiners mean nothing and only break matching. Tag characters (U+E0000) also carry hidden instructions.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\U000e0000-\U000e007f]|(?<=[!-~])[\u200c\u200d]+(?=[!-~])"
)
_TAG = 0xE0000
_TAGS = re.compile("[\U000e0000-\U000e007f]{8,}")
_FOREIGN = re.compile("[^\x00-\x7f]+")
_MISREAD_AS = ("mac_roman", "sloppy-windows-1252", "latin-1")


def read_text(data: bytes, name: str) -> str:
    """Decode and mend the bytes of a text file.

    Raises:
        UnreadableFile: binary content, or no encoding fits.
    """
    return mend(decode(data, name))


def decode(data: bytes, name: str, declared: str | None = None) -> str:
    """Decode the bytes of a text file: byte order mark, UTF-8, the `declared` encoding, then statistics, in this order.

    Raises:
        UnreadableFile: binary content, or no encoding fits.
    """
    for signature, kind in _SIGNATURES.items():
        if data.startswith(signature):
            raise UnreadableFile(f"{name} is {kind}, not text.", "Give it the ending that fits what it is, or leave it out.")
    codec = next((codec for mark, codec in _BOMS.items() if data.startswith(mark)), None)
    if codec:
        text = data.decode(codec, errors="replace")
    elif b"\0" in data:
        raise UnreadableFile(f"{name} holds binary data, not text.", "If it is text, save it as UTF-8.")
    else:
        text = _without_mark(data, name, declared)
    if len(_CONTROLS.findall(text)) > 0.05 * len(text):
        raise UnreadableFile(f"{name} holds binary data, not text.", "If it is text, save it as UTF-8.")
    return text


def _without_mark(data: bytes, name: str, declared: str | None) -> str:
    for codec in ("utf-8", declared if declared and _CHARSET.match(declared) else "utf-8"):
        try:
            return data.decode(codec)
        except (UnicodeError, LookupError):
            continue
    text = data.decode("utf-8", errors="replace")
    lost = text.count("\ufffd")
    # UTF-8 with a few broken bytes: far more whole characters beyond ASCII than lost ones.
    if sum(len(run) for run in _FOREIGN.findall(text)) > 5 * lost:
        return text
    return data.decode(_guess(data, name), errors="replace")


def _guess(data: bytes, name: str) -> str:
    from charset_normalizer import from_bytes

    sample = data[: data.rfind(b"\n", 0, _SAMPLE) + 1] or data[:_SAMPLE] if len(data) > _SAMPLE else data
    matches = from_bytes(sample, cp_isolation=_LEGACY)
    best = matches.best()
    if best is None:
        raise UnreadableFile(f"The character encoding of {name} cannot be recognised.", "Save it as UTF-8.")
    for match in matches:  # short western texts fit cp1250 just as well; the commoner encoding wins a tie
        tied = (match.chaos, match.coherence) == (best.chaos, best.coherence)
        if tied and "cp1252" in match.could_be_from_charset:
            return "cp1252"
    return best.encoding


def smuggled(text: str) -> Iterator[str]:
    """Yield what a text says in tag characters (U+E0000), which nobody sees and a model may read; a flag has at most six."""
    for run in _TAGS.findall(text):
        yield "".join(chr(ord(char) - _TAG) for char in run if ord(char) > _TAG)


def mend(text: str) -> str:
    r"""Undo mojibake, compose to NFC, use "\n" line ends and plain spaces, remove what nobody can see.

    Curly quotes, formulas, HTML entities and full-width characters stay as they are; ligatures like U+FB01 become letters.
    """
    text = _LINE_ENDS.sub("\n", _TERMINAL.sub("", text))
    if not text.isascii():
        import ftfy

        text = ftfy.fix_text(_undo_misreading(text), _ftfy_config())
        text = _INVISIBLE.sub("", _SPACES.sub(" ", text))
    return _CONTROLS.sub("", text)


@lru_cache(maxsize=1)
def _ftfy_config():  # type: ignore[no-untyped-def]  # noqa: ANN202
    from ftfy import TextFixerConfig

    return TextFixerConfig(unescape_html=False, uncurl_quotes=False, fix_character_width=False, explain=False)


def _undo_misreading(text: str) -> str:
    """Undo UTF-8 that was read as a one-byte encoding, judging by the whole text.

    ftfy judges line by line, so a lone arrow or emoji on its line stays broken. A run that decodes to a character of three
    bytes or more is no accident. A run of two-byte characters might be one (the root of pi is also a misread "\u00f9"): it is
    undone where its line holds a certain one, or where most of the text is misread.
    """
    import ftfy.bad_codecs  # noqa: F401  registers the sloppy codecs

    runs = Counter(_FOREIGN.findall(text))
    for codec in _MISREAD_AS:
        undone = {run: right for run in runs if (right := _redecode(run, codec)) is not None}
        certain = {run for run, right in undone.items() if max(right) > "\u07ff"}
        if certain:
            mostly = 2 * sum(runs[run] for run in undone) > runs.total()
            return "\n".join(_repaired(line, undone, set() if mostly else certain) for line in text.split("\n"))
    return text


def _redecode(run: str, codec: str) -> str | None:
    try:
        return run.encode(codec).decode("utf-8")
    except UnicodeError:
        return None


def _repaired(line: str, undone: dict[str, str], needed: set[str]) -> str:
    """Return the line with its runs undone if it holds one of the `needed` ones, or if none are needed."""
    if needed and needed.isdisjoint(_FOREIGN.findall(line)):
        return line
    return _FOREIGN.sub(lambda run: undone.get(run[0], run[0]), line)
