"""A formula cut into tokens; LaTeX commands, small raised and lowered digits and letters with marks become plain signs."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from assistant.voice.spoken_signs import COMMANDS, FUNCTIONS, NAMES, PLAIN_COMMANDS, SPACES

Kind = Literal["command", "word", "number", "sign"]

_SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁱⁿᵀˡᵃᵇᶜᵈᵉᵏᵐᵗˣʸᶻʰʲ"
_SUBSCRIPTS = "₀₁₂₃₄₅₆₇₈₉₊₋₍₎ₐₑᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓₕ"
_TOKEN = re.compile(
    rf"(?P<space>\s+)|\\(?P<command>[A-Za-z]+|.)|(?P<word>[A-Za-z]+)|(?P<number>\d+(?:[.,]\d+)*)"
    rf"|(?P<high>[{_SUPERSCRIPTS}]+)|(?P<low>[{_SUBSCRIPTS}]+)|(?P<sign>.)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a formula.

    Attributes:
        kind: a "command" is one of LaTeX's that does not stand for a sign.
        spaced: white space stands before it.
    """

    kind: Kind
    text: str
    spaced: bool = False


def tokens(formula: str) -> list[Token]:
    """Cut a formula, of LaTeX or Unicode. x² comes as x ^ { 2 }, ŷ as y and a combining mark."""
    cut: list[Token] = []
    spaced = False
    for found in _TOKEN.finditer(formula.replace("\u2212", "-")):
        if found["space"] or found[0] in SPACES:
            spaced = True
            continue
        if found["command"] in PLAIN_COMMANDS:
            continue
        if found["high"] or found["low"]:
            inside = tokens(unicodedata.normalize("NFKC", found[0]))
            cut += [Token("sign", "^" if found["high"] else "_"), Token("sign", "{"), *inside, Token("sign", "}")]
        elif found["command"]:
            cut.append(_command(found["command"], spaced))
        elif found["sign"]:
            cut += _sign(found["sign"], spaced)
        else:
            cut.append(Token("word" if found["word"] else "number", found[0], spaced))
        spaced = False
    return cut


def _command(name: str, spaced: bool) -> Token:
    if name in COMMANDS:
        return Token("sign", COMMANDS[name], spaced)
    return Token("word" if name in FUNCTIONS else "command", name, spaced)


def _sign(sign: str, spaced: bool) -> list[Token]:
    if sign in NAMES or not unicodedata.decomposition(sign):
        return [Token("sign", sign, spaced)]
    base, *marks = list(unicodedata.normalize("NFD", sign))
    return [Token("sign" if base in NAMES else "word", base, spaced), *(Token("sign", mark) for mark in marks)]
