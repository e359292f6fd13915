"""Formulas as words, the way a lecturer reads them out: LaTeX between dollars, and formulas written in Unicode.

`σ(QKᵀ / √d)` becomes "sigma of Q K transposed over the square root of d". What it cannot read it does not guess at.
A parser of our own: the libraries that we know turn LaTeX into MathML (latex2mathml) or are written in JavaScript (MathJax's).
"""

import re

from assistant.voice.formula_tokens import Token, tokens
from assistant.voice.spoken_signs import ACCENT_COMMANDS, ACCENTS, BIG, FUNCTIONS, NAMES, OPERATORS

UNREADABLE = "a formula that is on the page"
_LONGEST = 70  # words; nobody can follow more by ear

_CLOSING = {"(": ")", "[": "]", "{": "}", "⌊": "⌋", "⌈": "⌉"}
_POWERS = {"2": "squared", "3": "cubed", "T": "transposed", "⊤": "transposed", "′": "prime", "'": "prime", "*": "star"}
_PAIRED = {"|": "the absolute value of", "‖": "the norm of"}
_PARAMETERS = {"|": "given", "‖": "against"}
_ROUNDED = {"⌊": "the floor of", "⌈": "the ceiling of"}
_SUMS = {"Σ": "the sum", "Π": "the product"}  # letters that are used for the signs
_LIMITS = ("min", "max", "argmin", "argmax", "lim", "sup", "inf")
_SMALL_WORDS = frozenset({"and", "or", "in", "of", "if", "is", "at", "to", "by"})
_MOST_TOKENS, _DEEPEST = 250, 12  # beyond that it would not be followed by ear, and could exhaust the stack


class _Unread(Exception):
    """There is a sign that we cannot name."""


def spoken_formula(formula: str) -> str:
    """Read a formula out; UNREADABLE where a part of it is unknown or it is too long to be followed.

    Args:
        formula: LaTeX without its dollars, or Unicode.
    """
    latex = "\\" in formula or "{" in formula
    try:
        words = _Reader(tokens(formula), latex).all()
    except _Unread:
        return UNREADABLE
    return words if words and len(words.split()) <= _LONGEST else UNREADABLE


class _Reader:
    """Recursive descent over the tokens; every method returns words and leaves `at` behind what it has read."""

    def __init__(self, read: list[Token], latex: bool) -> None:
        self.tokens = read
        self.latex = latex
        self.at = 0
        self.depth = 0

    def all(self) -> str:
        if len(self.tokens) > _MOST_TOKENS:
            raise _Unread
        words = self._sequence("")
        if self.at < len(self.tokens):
            raise _Unread
        return re.sub(r"[ ,]*, *", ", ", re.sub(r"\s+", " ", words)).strip(" ,")

    def _peek(self, ahead: int = 0) -> str:
        return self.tokens[self.at + ahead].text if self.at + ahead < len(self.tokens) else ""

    def _sequence(self, closing: str) -> str:
        """Until the closing sign, which is left standing, or the end."""
        if self.depth >= _DEEPEST:
            raise _Unread
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
            if token.text in _CLOSING:
                depth += 1
            elif token.text in _CLOSING.values():
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
        if token.text in _LIMITS and self._peek(1) == "_":
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

    def _reach(self, name: str) -> str:
        low = high = ""
        while self._peek() in ("_", "^"):
            which = self._peek()
            self.at += 1
            if which == "_":
                low = self._argument()
                if name == "the expected value" and self._peek() == "(":
                    low += f" of {self._bracket(plain=True)}"
            else:
                high = self._argument()
        low = low.replace(" equals ", " from ", 1).replace("is drawn", "drawn")
        over = f" {'as' if name == 'the limit' else 'from' if name == 'the integral' else 'over'} {low}" if low else ""
        reach = name + over + (f" to {high}" if high else "")
        return reach if self._peek() == "over" else f"{reach} of"

    def _indices(self, name: str) -> str:
        """What is written below, above and on top of an atom, in the order in which it is said."""
        marks, low, high = "", "", ""
        while self.at < len(self.tokens):
            sign = self._peek()
            if sign in ACCENTS:
                marks += f" {ACCENTS[sign]}"
            elif sign in ("'", "′"):
                marks += " prime"
            elif sign in ("!", "%"):
                high += f" {OPERATORS[sign]}"
            elif sign in ("_", "^"):
                self.at += 1
                if sign == "_":
                    low += f" sub {self._argument()}"
                else:
                    high += f" {self._power()}"
                    if name == NAMES["ℝ"]:
                        high = high.replace("to the power", "of dimension").replace(" times ", " by ")
                continue
            else:
                break
            self.at += 1
        if name.startswith("log") and low:
            return f"{name}{low.replace(' sub ', ' base ')} of{high}"
        return re.sub(r" +", " ", f"{name}{marks}{low}{high}").rstrip()

    def _power(self) -> str:
        power = self._argument()
        bracketed = re.fullmatch(r"\((.*)\)(.*)", power)  # layers and examples are written as (l)
        if bracketed:
            return f"of {bracketed[1]},{bracketed[2]}"
        if power in _POWERS.values():
            return power
        if power == "minus 1":
            return "inverse"
        power = _POWERS.get(power, f"to the power {power}")
        return f"{power}," if power.count(" ") > 3 else power

    def _argument(self) -> str:
        """What follows ^, _ or a command: a group, or one thing."""
        if self.at >= len(self.tokens):
            raise _Unread
        token = self.tokens[self.at]
        if token.text == "{":
            return self._superscript() if self.at and self._peek(-1) == "^" else self._bracket(plain=True).strip(",")
        if token.text == "(":
            return self._bracket(plain=True)
        if token.text in ("*", "⊤", "′", "'"):
            self.at += 1
            return _POWERS[token.text]
        if token.text in ("-", "+"):
            self.at += 1
            return f"{OPERATORS[token.text]} {self._argument()}"
        if self.latex and token.kind in ("word", "number") and len(token.text) > 1:  # x_ij is x sub i, then j
            self.tokens[self.at : self.at + 1] = [
                Token(token.kind, token.text[0], token.spaced),
                Token(token.kind, token.text[1:], False),
            ]
        if token.text in _LIMITS:
            self.at += 1
            return token.text
        return self._atom()[0]

    def _superscript(self) -> str:
        """A braced power; one that begins with a bracket, as in a^{(l)T}, keeps it for _power to see."""
        if self._peek(1) != "(":
            return self._bracket(plain=True).strip(",")
        self.at += 2
        inside = self._sequence(")")
        self.at += 1
        rest = self._sequence("}")
        self.at += 1
        return f"({inside}){' ' + _POWERS.get(rest, rest) if rest else ''}"

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
            inside = self._sequence(_CLOSING.get(text, text))
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
        raise _Unread

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
        raise _Unread

    def _text(self) -> str:
        """The words in braces, as they stand."""
        end = next((i for i in range(self.at, len(self.tokens)) if self.tokens[i].text == "}"), None)
        if self._peek() != "{" or end is None:
            raise _Unread
        words = " ".join(token.text for token in self.tokens[self.at + 1 : end] if token.text not in "_^{")
        self.at = end + 1
        return FUNCTIONS.get(words, words)

    def _bracket(self, plain: bool = False) -> str:
        """What stands in brackets; `plain`: the listener knows where it begins, so only its end is marked, by a comma."""
        closing = _CLOSING[self._peek()]
        braces = closing == "}"
        self.at += 1
        inside = self._sequence(closing)
        self._close()
        if not inside:
            raise _Unread
        if plain:
            return f"{inside}," if not braces and inside.count(" ") > 1 else inside
        return inside if braces or " " not in inside else f"the quantity {inside},"

    def _close(self) -> None:
        if self.at >= len(self.tokens):
            raise _Unread
        self.at += 1


def _whole(words: str) -> str:
    """Mark a part of a fraction that is itself a sum."""
    return f"the quantity {words}," if re.search(r" (plus|minus) ", words) else words
