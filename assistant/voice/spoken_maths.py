"""Formulas as words, the way a lecturer reads them out: LaTeX between dollars, and formulas written in Unicode.

`σ(QKᵀ / √d)` becomes "sigma of Q K transposed over the square root of d". What it cannot read it does not guess at.
A parser of our own: the libraries that we know turn LaTeX into MathML (latex2mathml) or are written in JavaScript (MathJax's).
"""

import re

from assistant.voice.formula_atoms import CLOSING, Unread
from assistant.voice.formula_scripts import LIMITS, Scripts
from assistant.voice.formula_tokens import Token, tokens
from assistant.voice.spoken_signs import BIG, FUNCTIONS, OPERATORS

UNREADABLE = "a formula that is on the page"
_LONGEST = 70  # words; nobody can follow more by ear

_PARAMETERS = {"|": "given", "‖": "against"}
_SUMS = {"Σ": "the sum", "Π": "the product"}  # letters that are used for the signs
_MOST_TOKENS, _DEEPEST = 250, 12  # beyond that it would not be followed by ear, and could exhaust the stack


def spoken_formula(formula: str) -> str:
    """Read a formula out; UNREADABLE where a part of it is unknown or it is too long to be followed.

    Args:
        formula: LaTeX without its dollars, or Unicode.
    """
    latex = "\\" in formula or "{" in formula
    try:
        words = _Reader(tokens(formula), latex).all()
    except Unread:
        return UNREADABLE
    return words if words and len(words.split()) <= _LONGEST else UNREADABLE


class _Reader(Scripts):
    """Joins the things of a formula by its operators; see Atoms."""

    def all(self) -> str:
        if len(self.tokens) > _MOST_TOKENS:
            raise Unread
        words = self._sequence("")
        if self.at < len(self.tokens):
            raise Unread
        return re.sub(r"[ ,]*, *", ", ", re.sub(r"\s+", " ", words)).strip(" ,")

    def _sequence(self, closing: str) -> str:
        """Until the closing sign, which is left standing, or the end."""
        if self.depth >= _DEEPEST:
            raise Unread
        self.depth += 1
        words: list[str] = []
        after_thing = False
        while self.at < len(self.tokens) and self._peek() != closing:
            token = self.tokens[self.at]
            sign = token.text
            if sign in _PARAMETERS and after_thing and self._is_single(sign, closing):
                self.at += 1
                words.append(_PARAMETERS[sign])
                after_thing = False
            elif token.kind == "sign" and sign in OPERATORS and sign not in "'′!%":
                self.at += 1
                words.append(self._operator(sign, token.spaced, after_thing))
                after_thing = False
            else:
                grouped = sign in ("(", "[")
                argument = bool(words) and words[-1].endswith(" of")
                thing = self._arguments() if grouped and argument else self._thing(after_thing)
                words.append(f"times {thing}" if grouped and after_thing else thing)
                after_thing = not thing.endswith(" of")
        self.depth -= 1
        return " ".join(words)

    def _operator(self, sign: str, spaced: bool, after_thing: bool) -> str:
        following = self.tokens[self.at] if self.at < len(self.tokens) else None
        if sign == "*" and after_thing and not spaced and (following is None or following.text in "()|,"):
            return "star" if following is None or following.text != "(" else "star of"
        if sign == "@" and not spaced:
            return "at"
        if sign in "·⋅" and not spaced:
            return "dot"
        if sign in "-–" and not spaced and following and not following.spaced and self._between_words():
            return ""
        if sign == "×" and not spaced and after_thing and following and following.kind == "number":
            return "by"
        return OPERATORS[sign]

    def _between_words(self) -> bool:
        before, after = self.tokens[max(0, self.at - 2)], self.tokens[self.at]
        return before.kind == after.kind == "word" and len(before.text) > 2 < len(after.text)

    def _is_single(self, sign: str, closing: str) -> bool:
        """Whether no partner of this bar follows in the same brackets."""
        depth, count = 0, 0
        for token in self.tokens[self.at :]:
            if token.text in CLOSING:
                depth += 1
            elif token.text in CLOSING.values():
                depth -= 1
                if depth < 0:
                    break
            elif token.text == sign and not depth:
                count += 1
        return count % 2 == 1 and closing != sign

    def _thing(self, after_thing: bool) -> str:
        """An atom with its accents, indices, powers and arguments."""
        token = self.tokens[self.at]
        if token.text in BIG or (token.text in _SUMS and not self._is_matrix(after_thing)):
            self.at += 1
            return self._reach(BIG.get(token.text) or _SUMS[token.text])
        if token.text == "arg" and self._peek(1) in ("min", "max"):
            self.at += 1
            self.tokens[self.at] = Token("word", f"arg{self._peek()}", token.spaced)
            return self._thing(after_thing)
        if token.text in LIMITS and self._peek(1) == "_":
            self.at += 1
            return self._reach(FUNCTIONS[token.text])
        if token.text == "E" and self._is_expectation():
            self.at += 1
            return self._reach("the expected value")
        name, applies = self._atom()
        name = self._indices(name)
        if name.endswith(" of"):
            return name
        if applies and self._peek() in ("(", "[") and not self.tokens[self.at].spaced:
            joint = "sub" if self._peek() == "[" and token.text not in FUNCTIONS else "of"
            return f"{name} {joint} {self._arguments()}"
        return name

    def _arguments(self) -> str:
        """A bracket after "of"; a comma tells its powers from those of what is in it."""
        inside = self._bracket(plain=True)
        return self._indices(f"{inside}," if self._peek() == "^" else inside)

    def _is_expectation(self) -> bool:
        """E, with or without an index, before a square bracket."""
        start = self.at
        self.at += 1
        while self._peek() == "_":
            self.at += 1
            self._argument()
            if self._peek() == "(":  # E_q(z|x)[..]
                self._bracket()
        found = self._peek() == "["
        self.at = start
        return found

    def _is_matrix(self, after_thing: bool) -> bool:
        """Capital sigma between two capital letters, or alone, is a matrix; elsewhere it sums."""
        before, after = (self.tokens[self.at - 1].text if self.at else ""), self._peek(1)
        return (after_thing and before.isupper() and after.isupper()) or after in ("", ")", "=", ",", *OPERATORS)
