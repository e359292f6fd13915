"""The things that a formula consists of, as words: letters, numbers, brackets, roots and LaTeX's commands."""

import re
from abc import ABC, abstractmethod

from assistant.voice.formula_tokens import Token
from assistant.voice.spoken_signs import ACCENT_COMMANDS, FUNCTIONS, NAMES

CLOSING = {"(": ")", "[": "]", "{": "}", "⌊": "⌋", "⌈": "⌉"}
_PAIRED = {"|": "the absolute value of", "‖": "the norm of"}
_ROUNDED = {"⌊": "the floor of", "⌈": "the ceiling of"}
_SMALL_WORDS = frozenset({"and", "or", "in", "of", "if", "is", "at", "to", "by"})


class Unread(Exception):
    """There is a sign that we cannot name."""


class Atoms(ABC):
    """Recursive descent over the tokens; every method returns words and leaves `at` behind what it has read.

    Args:
        read: the tokens.
        latex: whether they are LaTeX's, where single letters are multiplied.
    """

    def __init__(self, read: list[Token], latex: bool) -> None:
        self.tokens = read
        self.latex = latex
        self.at = 0
        self.depth = 0

    def _peek(self, ahead: int = 0) -> str:
        return self.tokens[self.at + ahead].text if self.at + ahead < len(self.tokens) else ""

    @abstractmethod
    def _sequence(self, closing: str) -> str:
        """What stands until the closing sign, which is left standing, or the end."""

    @abstractmethod
    def _indices(self, name: str) -> str:
        """An atom with what is written below, above and on top of it."""

    @abstractmethod
    def _argument(self) -> str:
        """What follows ^, _ or a command: a group, or one thing."""

    @abstractmethod
    def _reach(self, name: str) -> str:
        """A sign that reaches over what follows, with its limits."""

    def _atom(self) -> tuple[str, bool]:
        """Words of an atom, and whether a bracket that follows at once holds its arguments."""
        token = self.tokens[self.at]
        text = token.text
        if token.kind == "command":
            return self._command(), text in ("text", "mathbb", "textbf", "textrm", *ACCENT_COMMANDS)
        if text == "{" and self._peek(2) == "}" and self.tokens[self.at + 1].kind == "word":  # \mathrm{softmax}
            self.at += 3
            return self._word(self._peek(-2)), True
        if text in ("(", "[", "{"):
            return self._bracket(), False
        if text in _ROUNDED or text in _PAIRED:
            self.at += 1
            inside = self._sequence(CLOSING.get(text, text))
            self._close()
            return f"{_ROUNDED.get(text) or _PAIRED[text]} {inside},", False
        self.at += 1
        if text == "√":
            return f"the square root of {self._root()}", False
        if text == "⊤":
            return "transposed", False
        if token.kind == "number":
            return text, False
        if token.kind == "word":
            return self._word(text), text not in _SMALL_WORDS
        if text in NAMES:
            return NAMES[text], text.isalpha()
        raise Unread

    def _word(self, text: str) -> str:
        if text in FUNCTIONS:
            return FUNCTIONS[text]
        if text in _SMALL_WORDS or (len(text) > (3 if self.latex else 2) and not text.isupper()):
            return re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", text)
        return " ".join(text)

    def _root(self) -> str:
        name, applies = self._atom()
        name = self._indices(name)
        return f"{name} of {self._bracket(plain=True)}" if applies and self._peek() == "(" else name

    def _command(self) -> str:
        name = self._peek()
        self.at += 1
        if name in ("frac", "dfrac", "tfrac"):
            top, bottom = self._argument(), self._argument()
            return f"{_whole(top)} over {_whole(bottom)},"
        if name == "sqrt":
            if self._peek() == "[":
                return f"the root of order {self._bracket(plain=True)} of {self._argument()},"
            inside = self._argument()
            return f"the square root of {inside}{',' if ' ' in inside else ''}"
        if name in ACCENT_COMMANDS:
            return f"{self._argument()} {ACCENT_COMMANDS[name]}"
        if name in ("text", "textrm", "textbf", "textit", "mbox"):
            return self._text()
        if name == "mathbb":
            letter = self._text()
            if letter == "E":
                return self._reach("the expected value")
            return {"R": NAMES["ℝ"], "N": NAMES["ℕ"], "Z": NAMES["ℤ"]}.get(letter, letter)
        raise Unread

    def _text(self) -> str:
        """The words in braces, as they stand."""
        end = next((i for i in range(self.at, len(self.tokens)) if self.tokens[i].text == "}"), None)
        if self._peek() != "{" or end is None:
            raise Unread
        words = " ".join(token.text for token in self.tokens[self.at + 1 : end] if token.text not in "_^{")
        self.at = end + 1
        return FUNCTIONS.get(words, words)

    def _bracket(self, plain: bool = False) -> str:
        """What stands in brackets; `plain`: the listener knows where it begins, so only its end is marked, by a comma."""
        closing = CLOSING[self._peek()]
        braces = closing == "}"
        self.at += 1
        inside = self._sequence(closing)
        self._close()
        if not inside:
            raise Unread
        if plain:
            return f"{inside}," if not braces and inside.count(" ") > 1 else inside
        return inside if braces or " " not in inside else f"the quantity {inside},"

    def _close(self) -> None:
        if self.at >= len(self.tokens):
            raise Unread
        self.at += 1


def _whole(words: str) -> str:
    """Mark a part of a fraction that is itself a sum."""
    return f"the quantity {words}," if re.search(r" (plus|minus) ", words) else words
