"""Encodings in a text, undone in place where they decode to readable text: base64, hex, percent signs, Morse, ROT13 and others.

Each pass takes linear time and never lengthens a text.
"""

import base64
import binascii
import codecs
import html
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

WORD = re.compile(r"[^\W\d_]{2,}")
_FREQUENT = (
    "the and you your are that this with for from all what how not now show tell print write say give make then when "
    "who can will must should please have has any into out text word words answer question follow following message "
    "first last ignore disregard forget override bypass reveal repeat obey comply pretend act previous prior above "
    "below earlier instruction instructions rule rules guideline guidelines prompt prompts system developer mode "
    "admin password secret hidden restriction restrictions unrestricted filter filters limits safety policy jailbreak "
    "hack bomb weapon kill without new command commands execute output assistant model course teacher exam solution"
)
_WORDS = frozenset(_FREQUENT.split())  # of questions and of attacks: what decoding is recognised by


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to read a text.

    Attributes:
        text: what is read.
        kind: "seen", "decoded" or "hidden".
        starts: for each character, where that which it was made from begins in the original; ends likewise.
    """

    text: str
    kind: str
    starts: Sequence[int]
    ends: Sequence[int]

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original that a non-empty span of this reading was made from."""
        return self.starts[start], self.ends[end - 1]


def decoded(reading: Reading) -> Reading:
    """The reading with one layer of each encoding undone."""
    for decode in _PASSES:
        reading = decode(reading)
    return reading


def rewritten(reading: Reading, pattern: re.Pattern[str], replace: Callable[[str], str | None]) -> Reading:
    """The reading with matches replaced; None leaves one as it is."""
    found = [(m.span(), new) for m in pattern.finditer(reading.text) if (new := replace(m[0])) is not None and new != m[0]]
    return _replaced(reading, found)


def _replaced(reading: Reading, found: Sequence[tuple[tuple[int, int], str]]) -> Reading:
    if not found:
        return reading
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    for (start, end), new in found:
        parts += [reading.text[at:start], new]
        same = len(new) == end - start  # letter by letter
        starts += reading.starts[at:end] if same else [*reading.starts[at:start], *[reading.starts[start]] * len(new)]
        ends += reading.ends[at:end] if same else [*reading.ends[at:start], *[reading.ends[end - 1]] * len(new)]
        at = end
    parts.append(reading.text[at:])
    return Reading("".join(parts), reading.kind, [*starts, *reading.starts[at:]], [*ends, *reading.ends[at:]])


def readable(text: str) -> bool:
    """Whether it is text rather than noise: hashes and images decode to anything but printable characters."""
    letters = sum(map(str.isalpha, text))
    return letters >= 4 and 2 * letters >= len(text) and all(char.isprintable() or char.isspace() for char in text)


def _bytes_to_text(data: bytes) -> str | None:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if readable(text) else None


def _from_base(match: str) -> str | None:
    padded = match.rstrip("=") + "=" * (-len(match.rstrip("=")) % 4)
    for decode in (base64.b64decode, base64.urlsafe_b64decode):
        try:
            if text := _bytes_to_text(decode(padded)):
                return text
        except (binascii.Error, ValueError):
            continue  # not of this alphabet
    try:
        return _bytes_to_text(base64.b32decode(match.rstrip("=") + "=" * (-len(match.rstrip("=")) % 8)))
    except (binascii.Error, ValueError):
        return None


def _from_hex(match: str) -> str | None:
    return _bytes_to_text(bytes.fromhex(re.sub(r"[^0-9a-fA-F]", "", match.removeprefix("0x"))))


def _from_bits(match: str) -> str | None:
    digits = match.replace(" ", "")
    return _bytes_to_text(int(digits, 2).to_bytes(len(digits) // 8, "big"))


def _from_decimals(match: str) -> str | None:
    text = "".join(map(chr, map(int, re.findall(r"\d+", match))))
    return text if _known_words(text) else None


_SIGNS = ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --.."
_MORSE = dict(zip(_SIGNS.split(), "abcdefghijklmnopqrstuvwxyz", strict=True))


def _from_morse(match: str) -> str | None:
    words = re.split(r"\s*[/|]\s*|\s{2,}", match)
    text = " ".join("".join(_MORSE.get(sign, "") for sign in word.split()) for word in words)
    return text if _known_words(text) else None


def _from_escape(match: str) -> str | None:
    code = int(match.strip("\\uUxX{}"), 16)
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else None


def _from_percent(match: str) -> str | None:
    return unquote_to_bytes(match).decode("utf-8", "replace")


def _joined(match: str) -> str:
    """Spaced letters as words, which wider gaps divide; without those, as the words that are known."""
    words = re.split(r"\s{2,}|\s*[/|]\s*", match.strip())
    text = " ".join(re.sub(r"[^\w]|_", "", word) for word in words)
    return " ".join(_segments(text)) if len(words) == 1 else text


def _segments(text: str) -> Iterator[str]:
    """Known words, longest first, and what lies between them."""
    start = at = 0
    while at < len(text):
        length = next((n for n in range(12, 2, -1) if text[at : at + n].lower() in _WORDS), 0)
        if length and start < at:
            yield text[start:at]
        if length:
            yield text[at : at + length]
        at += length or 1
        start = at if length else start
    if start < at:
        yield text[start:]


_LEET = str.maketrans("013457@$!|", "oieastasil")


def _from_leet(match: str) -> str | None:
    word = match.rstrip("!|")
    if len(word) > 20 or word.isalpha() or not any(map(str.isalpha, word)):
        return None
    plain = word.translate(_LEET)
    return plain + match[len(word) :] if plain.lower() in _WORDS else None


def _known_words(text: str) -> list[tuple[int, int]]:
    return [m.span() for m in WORD.finditer(text) if len(m[0]) > 2 and m[0].lower() in _WORDS]


def _turned(turn: Callable[[str], str]) -> Callable[[Reading], Reading]:
    """A pass for what has no mark of its own (ROT13, reversed text): from the first to the last word that it makes sense of."""

    def decode(reading: Reading) -> Reading:
        words = (m for m in WORD.finditer(reading.text) if len(m[0]) > 2)
        spans = [m.span() for m in words if m[0].lower() not in _WORDS and turn(m[0]).lower() in _WORDS]
        if len(spans) < 3:
            return reading
        span = spans[0][0], spans[-1][1]
        return _replaced(reading, [(span, turn(reading.text[slice(*span)]))])

    return decode


def _replacing(pattern: str, replace: Callable[[str], str | None]) -> Callable[[Reading], Reading]:
    compiled = re.compile(pattern)
    return lambda reading: rewritten(reading, compiled, replace)


_PASSES: tuple[Callable[[Reading], Reading], ...] = (
    _replacing(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,31});", html.unescape),
    _replacing(r"(?:%[0-9a-fA-F]{2})+", _from_percent),
    _replacing(r"\\(?:u[0-9a-fA-F]{4}|u\{[0-9a-fA-F]{1,6}\}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2})", _from_escape),
    _replacing(r"(?<!\d)(?:[01]{8} ?){3,}[01]{8}(?![01])", _from_bits),
    _replacing(r"(?<![0-9a-zA-Z])(?:0x)?(?:[0-9a-fA-F]{2}[ :]?){7,}[0-9a-fA-F]{2}(?![0-9a-zA-Z])", _from_hex),
    _replacing(r"(?<!\d)(?:\d{2,3}[ ,]{1,2}){5,}\d{2,3}(?!\d)", _from_decimals),
    _replacing(r"[A-Za-z0-9+/_\-]{12,}={0,6}", _from_base),
    _replacing(r"(?<![.\-])(?:[.\-]{1,4}[ /|]{1,3}){5,}[.\-]{1,4}", _from_morse),
    _replacing(r"(?<![^\W_])(?:[^\W\d_][ ._*/|\-]{1,3}){4,}[^\W\d_](?![^\W_])", _joined),
    _replacing(r"[\w@$!|]++", _from_leet),
    _turned(lambda text: codecs.encode(text, "rot13")),
    _turned(lambda text: text[::-1]),
)
