"""What is written above, below and on top of the things of a formula, as words: indices, powers, accents, limits."""

import re

from assistant.voice.formula_atoms import Atoms, Unread
from assistant.voice.formula_tokens import Token
from assistant.voice.spoken_signs import ACCENTS, NAMES, OPERATORS

LIMITS = ("min", "max", "argmin", "argmax", "lim", "sup", "inf")
_POWERS = {"2": "squared", "3": "cubed", "T": "transposed", "⊤": "transposed", "′": "prime", "'": "prime", "*": "star"}


class Scripts(Atoms):
    """Adds indices and powers to atoms; see there."""

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
            raise Unread
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
        if token.text in LIMITS:
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
