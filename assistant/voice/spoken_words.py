"""Prose and names of code as words that an engine reads well: abbreviations, numbers with units, acronyms, files, signs.

Plain numbers, per cent and most capitals are left to the engines, which read them well. Both engines that we have speak
through espeak-ng's rules; the spellings here were listened to there.
"""

import re
import unicodedata
from collections.abc import Callable

from assistant.voice.spoken_maths import UNREADABLE, spoken_formula
from assistant.voice.spoken_signs import NAMES, OPERATORS

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
ORDINALS = ("First", "Second", "Third", "Fourth", "Fifth", "Sixth", "Seventh", "Eighth", "Ninth", "Tenth")

_ABBREVIATIONS = {
    "e.g.": "for example", "i.e.": "that is", "etc.": "and so on", "vs.": "versus", "vs": "versus", "cf.": "compare",
    "et al.": "and others", "approx.": "approximately", "w.r.t.": "with respect to", "a.k.a.": "also known as",
    "i.i.d.": "independent and identically distributed", "resp.": "respectively",
}  # fmt: skip
_BEFORE_NUMBER = {
    "fig": "Figure", "figs": "Figures", "eq": "Equation", "eqs": "Equations", "sec": "Section", "ch": "Chapter", "no": "number",
    "p": "page", "pp": "pages", "vol": "Volume", "tab": "Table",
}  # fmt: skip
_UNITS = {
    "ms": "milliseconds", "s": "seconds", "min": "minutes", "h": "hours", "µs": "microseconds", "μs": "microseconds",
    "ns": "nanoseconds", "KB": "kilobytes", "kB": "kilobytes", "MB": "megabytes", "GB": "gigabytes", "TB": "terabytes",
    "KiB": "kibibytes", "MiB": "mebibytes", "GiB": "gibibytes", "Hz": "hertz", "kHz": "kilohertz", "MHz": "megahertz",
    "GHz": "gigahertz", "dB": "decibels", "km": "kilometres", "m": "metres", "cm": "centimetres", "mm": "millimetres",
    "kg": "kilograms", "g": "grams", "px": "pixels", "K": "thousand", "k": "thousand", "M": "million", "B": "billion",
    "bn": "billion", "T": "trillion", "x": "times", "×": "times", "°C": "degrees Celsius", "°": "degrees", "%": "percent",
    "W": "watts", "kWh": "kilowatt hours", "FLOP/s": "operations a second",
}  # fmt: skip
_GLUED = frozenset({"K", "k", "M", "B", "T", "x", "×", "%", "°"})  # only right after the number: "a 7 B" is not seven billion
_SAID = {
    "LoRA": "Lora", "QLoRA": "Q Lora", "LLaMA": "Llama", "ReLU": "relu", "LeakyReLU": "leaky relu", "SiLU": "sigh loo",
    "SwiGLU": "swi gloo", "GGUF": "G G U F", "GGML": "G G M L", "NaN": "not a number", "PyTorch": "pie torch",
    "NumPy": "num pie", "SciPy": "sigh pie", "sklearn": "scikit-learn", "AdamW": "Adam W", "t-SNE": "T S N E",
    "UMAP": "you map", "WordNet": "word net", "tanh": "hyperbolic tangent", "argmax": "arg max", "argmin": "arg min",
    "GloVe": "glove", "ALiBi": "alibi", "RoPE": "rope", "no_grad": "no grad", "I/O": "I O", "RAG": "rag", "PEFT": "peft",
    "BERT": "Bert", "GELU": "gelu", "YAML": "yaml",
}  # fmt: skip
_SUFFIXES = {
    "py": "P Y", "md": "M D", "pdf": "P D F", "docx": "doc X", "pptx": "P P T X", "txt": "T X T", "csv": "C S V",
    "json": "jason", "jsonl": "jason L", "toml": "toml", "yaml": "yaml", "yml": "yaml", "gguf": "G G U F", "onnx": "onnx",
    "pt": "P T", "sh": "S H", "ipynb": "notebook", "html": "H T M L", "epub": "E pub", "safetensors": "safe tensors",
    "wav": "wave", "mp3": "M P 3", "js": "J S", "css": "C S S", "sql": "S Q L", "bin": "bin", "xml": "X M L", "zip": "zip",
    "png": "P N G", "jpg": "J P G",
}  # fmt: skip
_SIGNS = {
    "=": "equals", "+": "plus", "-": "dash", "*": "star", "/": "slash", "\\": "backslash", "<": "less than",
    ">": "greater than", "_": "underscore", "|": "pipe", "&": "and", "%": "percent", "#": "hash", "@": "at", "^": "caret",
    "~": "tilde", ":": "colon", ".": "dot", "!": "not", "$": "dollar", "?": "question mark", "(": "of", "[": "of", "]": "",
    ")": "", "{": "", "}": "", ",": ",", ";": ",", '"': "", "'": "", "`": "", "→": "to",
}  # fmt: skip
_MOST_SIGNS = 8  # in a piece of code that is still read out

_URL = re.compile(r"(?:https?://|www\.)[^\s<>]*[^\s<>.,;:!?)\]]")
_MAIL = re.compile(r"\b[\w.+-]+@([\w-]+(?:\.[\w-]+)+)")
_CITATION = re.compile(r"(?<!\b\w)\s*((?:\[[1-9]\d?\])+)(?!\()([.!?,;:]*)")
_NUMBER = r"\d{1,20}(?:[.,]\d{1,20}){0,4}"
_UNIT = re.compile(rf"(?<![\w.])({_NUMBER})( ?)({'|'.join(map(re.escape, sorted(_UNITS, key=len, reverse=True)))})(?!\w)")
_FILE = re.compile(rf"(?<![\w.-])[\w-]{{1,60}}(?:[./][\w-]{{1,60}}){{0,8}}\.(?:{'|'.join(_SUFFIXES)})\b")
_MATHS_SIGNS = "∑∏∫√∂∇≤≥≠≈≡∝∈∉⊂⊆∪∩×·÷±∓⊙∘⊗⊕∞‖←→⇒∀∃≻≺ℝ²³¹⁰⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿᵀⁱ₀₁₂₃₄₅₆₇₈₉ᵢⱼₖₜₙ½⅓¼¾′\u0302\u0304\u0303−Α-Ωα-ω"
_LETTERS = rf"[\w{_MATHS_SIGNS}^|\u0300-\u036f]"
_ATOM = rf"(?:{_LETTERS}*(?:\((?:[^()\n]|\([^()\n]*\))*\)|[_^]\{{[^{{}}\n]*\}}){_LETTERS}*|{_LETTERS}+(?:\.\d+)?)"
_JOIN = r"\s*[=+\-−*/·×≤≥≠≈<>|∈→←∝⊙±∼~]\s*"
_RUN = re.compile(rf"(?<![\w$]){_ATOM}(?:{_JOIN}{_ATOM})*")
_IS_MATHS = re.compile(
    rf"[{_MATHS_SIGNS}]|\w\^|\b[A-Za-z]_\w{{1,2}}\b|\b[A-Za-z]\([^()]{{1,24}}\)|\b(?:softmax|sigmoid|log|exp|sqrt)\("
)
_EMPHASISED = frozenset({"not", "and", "or", "if", "no", "all", "never", "always", "only", "must", "any", "both", "each"})


def spoken_prose(text: str) -> str:
    """Read out plain text without markup; a formula in it is read as one."""
    text = unicodedata.normalize("NFC", text)
    text = _URL.sub("a link", text)
    text = _MAIL.sub(r"an address at \1", text)
    text = _CITATION.sub(_cited, text)
    for short, words in _ABBREVIATIONS.items():
        text = re.sub(rf"(?<![\w.]){re.escape(short)}(?!\w)(\s*$)?", _expanded(words, short), text, flags=re.IGNORECASE)
    text = re.sub(rf"\b({'|'.join(_BEFORE_NUMBER)})\.\s*(?=\d)", lambda m: f"{_BEFORE_NUMBER[m[1].lower()]} ", text, flags=re.I)
    text = _RUN.sub(_formula, _numbers(text))
    text = _FILE.sub(lambda found: _path(found[0]), text)
    text = re.sub(r"\b[a-z_]\w*(?:\.[a-z_]\w+)+(?:\(\))?|\b\w+\(\)|\b\w*[^\W_]_\w+", lambda m: spoken_code(m[0]), text)
    text = re.sub(r"[A-Za-z][A-Za-z0-9]*(?:[-/][A-Z][A-Za-z0-9]*)*(?:[-/]\d+)?", lambda m: _word(m[0]), text)
    return re.sub(r"\s+([,.;:!?])", r"\1", re.sub(r"\s+", " ", "".join(map(_sign, text)))).strip()


def spoken_code(code: str) -> str:
    """Read out a piece of code on one line: a formula, a name, a call, a file; or say that it is on the page."""
    code = code.strip()
    if is_formula(code):
        words = spoken_formula(code)
        if words != UNREADABLE:
            return words
    call = re.fullmatch(r"([A-Za-z_][\w.]*)\(\)", code)
    if call:
        return f"the function {_names(call[1])}"
    if _FILE.fullmatch(code):
        return _path(code)
    signs = re.findall(r"[^\w\s.,_()\[\]\"'{}-]|--", code)
    if len(signs) > _MOST_SIGNS or len(code) > 90:
        return "a piece of code that is on the page"
    return _names(code) or "a piece of code that is on the page"


def is_formula(code: str) -> bool:
    """Whether what stands in backticks is mathematics rather than a name or a call."""
    if re.search(rf"[{_MATHS_SIGNS}]", code):
        return True
    if re.search(r"[\"'{}\\:#;]|\w\.\w*[A-Za-z]|==|\(\)|\w=\w|<\w|--|//", code):
        return False
    return bool(re.search(r"\s[=+\-*/|<>@]\s|\b\w\([^()]|\w\^|^[A-Za-z]_\w{1,2}$", code))


def _expanded(words: str, short: str) -> Callable[[re.Match[str]], str]:
    """The words, with the full stop that ended the sentence too."""
    return lambda found: words + ("." if found[1] is not None and short.endswith(".") else "")


def _cited(found: re.Match[str]) -> str:
    numbers = [spoken_number(number) for number in re.findall(r"\d+", found[1])]
    words = f"source {numbers[0]}" if len(numbers) == 1 else f"sources {' and '.join(numbers)}"
    before, after = found.string[: found.start()].rstrip(), found.string[found.end() :].strip()
    if not before or before[-1] in ".!?":
        return f" {words.capitalize()}{found[2] or '.'} "
    joined = (after and not found[2]) or re.search(r"\b(?:see|and|or|in|by|of|from|with|to)$", before, re.IGNORECASE)
    return f"{'' if joined else ','} {words}{found[2]} "


def spoken_number(number: str | int) -> str:
    """A small number as a word, others as digits, which engines read."""
    return NUMBERS[int(number)] if int(number) < len(NUMBERS) else str(number)


def _numbers(text: str) -> str:
    text = re.sub(r"(?<![\w.])(\d+(?:\.\d+)?)[eE]([-−+]?)(\d+)\b", _scientific, text)
    text = re.sub(r"([$€£])(\d[\d.,]*\d|\d)", _money, text)
    text = re.sub(rf"(?<![\w.–-])({_NUMBER})\s?[–-]\s?({_NUMBER})(?![\w–-])", _range, text)
    text = re.sub(r"(?<!\w)#(?=\d)", "number ", text)
    text = re.sub(r"(?<![\w)])[~≈]\s?(?=\d)", "about ", text)
    text = re.sub(rf"(?<![\w)])([<>≤≥])(?={_NUMBER})", lambda m: f"{OPERATORS[m[1]].removeprefix('is ')} ", text)
    text = re.sub(r"(?<=\d)\s?[×x]\s?(?=\d)", " by ", text)
    return _UNIT.sub(_unit, text)


def _range(found: re.Match[str]) -> str:
    low, high = (float(number.replace(",", "")) if number.count(".") < 2 else 0 for number in found.groups())
    return f"{found[1]} to {found[2]}" if low < high else found[0]


def _scientific(found: re.Match[str]) -> str:
    power = f"{'minus ' if found[2] in ('-', '−') else ''}{int(found[3])}"
    times = "" if found[1] == "1" else f"{found[1]} times "
    return f"{times}10 to the power {power}"


def _money(found: re.Match[str]) -> str:
    name = {"$": "dollar", "€": "euro", "£": "pound"}[found[1]]
    return f"{found[2]} {name}{'' if found[2] == '1' else 's'}"


def _unit(found: re.Match[str]) -> str:
    number, space, unit = found.groups()
    if space and unit in _GLUED - {"%", "×"}:
        return found[0]
    words = _UNITS[unit]
    return f"{number} {words.removesuffix('s') if number == '1' and unit not in ('x', '×', 'Hz', '°C') else words}"


def _formula(found: re.Match[str]) -> str:
    run = found[0]
    if not _IS_MATHS.search(unicodedata.normalize("NFD", run)):
        return run
    if re.fullmatch(r"[A-Za-zÀ-ɏ]+", run):  # a name with an accent
        return run
    words = spoken_formula(run)
    return " ".join(map(_sign, run.split())) if words == UNREADABLE and len(run) < 3 else words


def _path(path: str) -> str:
    stem, _, suffix = path.rpartition(".")
    return f"{_names(stem)} dot {_SUFFIXES[suffix]}"


def _names(code: str) -> str:
    """Identifiers and signs of code as words."""
    code = re.sub(r"(?<=\w)=(?==)|(?<=[!<>=])=", "= ", code.replace("->", " gives ").replace("==", " equals "))
    pieces = re.findall(r"[^\W_]+(?:-[^\W\d_]+)*|_|\d+\.\d+|\S", code)
    words = []
    for at, piece in enumerate(pieces):
        if piece == "_":
            words.append("" if 0 < at < len(pieces) - 1 else _SIGNS["_"])
        elif piece[0].isalnum():
            words += [_word(part) for part in _camel(piece)]
        elif piece not in "([" or (at and (pieces[at - 1][0].isalnum() or pieces[at - 1] in ")]")):
            words.append(_SIGNS.get(piece, _sign(piece)))
    return re.sub(r" ([,])", r"\1", " ".join(word for word in words if word))


def _camel(name: str) -> list[str]:
    return [name] if name in _SAID else re.sub(r"(?<=[a-z])(?=[A-Z][a-z])|(?<=[A-Z])(?=[A-Z][a-z]{2})", " ", name).split()


def _word(word: str) -> str:
    """A word or acronym: spelt where engines would swallow letters."""
    if word in _SAID:
        return _SAID[word]
    plural = re.fullmatch(r"([A-Z]{2,5})s", word)
    if plural:
        return f"{_said_or_spelt(plural[1])}'s"
    mixed = re.fullmatch(r"([A-Z]{1,5})[-/]?(\d+)([A-Z]?)", word)
    if mixed:
        return " ".join(filter(None, (_said_or_spelt(mixed[1]), mixed[2], mixed[3])))
    if "/" in word:
        return " ".join(map(_word, word.split("/")))
    if re.fullmatch(r"[A-Z]{2,}", word):
        return _said_or_spelt(word)
    return word


def _said_or_spelt(capitals: str) -> str:
    if capitals in _SAID:
        return _SAID[capitals]
    if capitals.lower() in _EMPHASISED or len(capitals) > 5:
        return capitals.lower()
    return capitals if re.search("[AEIOUY]", capitals) else " ".join(capitals)


def _sign(character: str) -> str:
    """Signs that engines skip; emoji and marks of layout say nothing."""
    if character in "<>":
        return f" {OPERATORS[character]} "
    if character in "&=+~|^@#\\":
        return f" {_SIGNS[character]} "
    if character in NAMES or (character in OPERATORS and not character.isascii() and character not in "–′°"):
        return f" {NAMES.get(character) or OPERATORS[character]} "
    kind = unicodedata.category(character)
    if kind in ("So", "Sk", "Cf", "Cc", "Co", "Cs", "Mn") and character not in "\n\t " or character in "*_•●◦▪":
        return " " if kind != "Mn" else character
    return character
