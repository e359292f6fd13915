"""What a reader of a web page does not see although it is text: hidden by its style, by its place or by its colour.

Styles are read from the elements and from plain rules (tag, class, id) of the page's own sheets. What other sheets or scripts
hide cannot be known, and a background that might come from there is taken to be one that shows the text.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

Colour = tuple[int, int, int]
Style = Mapping[str, str]

_FAINT = 20  # levels of 255
_TINY = 2.0  # pixels or points
_FAR = 500.0  # pixels off the page; less is a hanging indent
_LENGTH = re.compile(r"(-?[\d.]+)(px|pt|em|rem|%|vw|vh|)")
_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
_NESTED = re.compile(r"@[^{}]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}")
_SELECTOR = re.compile(r"(\w*)([.#][\w-]+)?")
_REVEALED = re.compile(r":(?:checked|target|hover|focus)")
_ON_REQUEST = ("display", "visibility", "opacity")  # a page that reacts to its reader shows these in time


@dataclass(frozen=True, slots=True)
class _State:
    """What text inherits; a colour of None is unknown."""

    colour: Colour | None = (0, 0, 0)
    background: Colour | None = (255, 255, 255)
    how: str = ""  # why the size or the visibility that is inherited hides it


def declarations(style: str) -> dict[str, str]:
    """The declarations of a style, in lower case."""
    pairs = (part.partition(":") for part in style.lower().replace("!important", "").split(";"))
    return {name.strip(): value.strip() for name, _, value in pairs if value.strip()}


def hides(style: Style) -> str:
    """Why an element with this style is not seen with all that it holds, or nothing."""
    if style.get("display") == "none":
        return "not displayed"
    if _number(style.get("opacity", "1")) <= 0.05:
        return "transparent"
    if style.get("position") in ("absolute", "fixed") and any(
        _number(style.get(side, "0")) <= -_FAR for side in ("left", "top", "right", "bottom")
    ):
        return "outside the page"
    if min(_number(style.get("text-indent", "0")), _number(style.get("margin-left", "0"))) <= -_FAR:
        return "outside the page"
    if re.search(r"scale\(0[,)]", style.get("transform", "")) or _is_clipped(style):
        return "cut away"
    return ""


def _is_clipped(style: Style) -> bool:
    size = min(_number(style.get("width", "99")), _number(style.get("height", "99")))
    box = style.get("clip", "").replace("px", "").replace(",", " ")
    return (
        (size <= 1 and style.get("overflow") == "hidden")
        or re.fullmatch(r"rect\(([01]\s*)(?:\s+[01]){3}\)", box) is not None
        or re.match(r"inset\((?:50|100)%", style.get("clip-path", "")) is not None
    )


def inherited(style: Style) -> str | None:
    """Why text of this style is not seen unless an element in it says otherwise; nothing if it is seen, None if it inherits."""
    if (visibility := style.get("visibility")) is not None:
        return "not displayed" if visibility in ("hidden", "collapse") else ""
    size = _LENGTH.fullmatch(style.get("font-size", ""))
    if size:
        value = float(size[1]) * {"em": 16, "rem": 16, "%": 0.16}.get(size[2], 1)
        return "too small to read" if value < _TINY else ""
    return None


def _number(value: str) -> float:
    found = _LENGTH.match(value)
    try:
        return float(found[1]) if found else 0.0 if value == "0" else 1.0
    except ValueError:
        return 1.0


def colour_of(value: str) -> Colour | str:
    """A colour of CSS, "transparent", or nothing if it is none that we know."""
    from PIL import ImageColor

    value = value.split()[0] if value and "(" not in value else value
    try:
        red, green, blue, *alpha = ImageColor.getrgb(
            re.sub(r"(?<=[\d.])\s*,?\s*(0?\.\d+|0|1(?:\.0+)?)\s*\)$", _as_level, value)
        )
    except ValueError:
        return "transparent" if value == "transparent" else ""
    return "transparent" if alpha and alpha[0] < 13 else (red, green, blue)


def _as_level(found: "re.Match[str]") -> str:
    """CSS writes opacity from 0 to 1, Pillow reads 0 to 255; only a fourth number is one."""
    before = found.string[: found.start()]
    return f", {round(float(found[1]) * 255)})" if before.startswith("rgba") and before.count(",") == 2 else found[0]


def same(one: Colour, other: Colour) -> bool:
    """Whether text of one colour cannot be read on the other."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) < _FAINT


def take_unseen(soup: "BeautifulSoup") -> list[tuple[str, str]]:
    """Remove from a page the text that is hidden by style; return it with the reason, in order."""
    from bs4 import Tag
    from bs4.element import NavigableString

    sheet = _Sheet(soup)
    taken: list[tuple[str, str]] = []
    stack: list[tuple[Tag, _State]] = [(soup, _State(background=(255, 255, 255) if sheet.knows_backgrounds else None))]
    while stack:
        tag, state = stack.pop()
        style = sheet.style(tag)
        how = "not displayed" if tag.has_attr("hidden") else hides(style)
        if how and tag.name not in ("html", "body"):
            taken.append((how, tag.get_text(" ")))
            tag.decompose()
            continue
        state = _below(state, style)
        unseen = _why(state)
        for child in list(tag.contents):
            if isinstance(child, Tag):
                stack.append((child, state))
            elif unseen and type(child) is NavigableString and child.strip():
                taken.append((unseen, str(child)))
                child.replace_with(" ")
    return taken


def _below(state: _State, style: Style) -> _State:
    how = inherited(style)
    if how is not None:
        state = replace(state, how=how)
    if painted := style.get("background-color") or style.get("background"):
        found = None if "url(" in painted or "gradient" in painted else colour_of(painted)
        if found != "transparent":
            state = replace(state, background=found if isinstance(found, tuple) else None)
    if "color" in style:
        found = colour_of(style["color"])
        state = replace(state, colour=found if isinstance(found, tuple) else None)
        if found == "transparent":
            state = replace(state, how="transparent")
    return state


def _why(state: _State) -> str:
    if state.how:
        return state.how
    if state.colour and state.background and same(state.colour, state.background):
        return "in the colour of its background"
    return ""


class _Sheet:
    """The plain rules of a page's own style sheets."""

    def __init__(self, soup: "BeautifulSoup") -> None:
        css = "\n".join(tag.get_text() for tag in soup.find_all("style"))
        css = _NESTED.sub("", re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)) if "{" in css else ""
        reacts = _REVEALED.search(css) is not None
        self._rules: dict[str, dict[str, str]] = {}
        self.knows_backgrounds = not soup.find("link", rel="stylesheet")
        for selectors, body in _RULE.findall(css):
            style = declarations(body)
            if reacts:
                style = {name: value for name, value in style.items() if name not in _ON_REQUEST}
            for selector in selectors.split(","):
                found = _SELECTOR.fullmatch(selector.strip())
                if found and style:
                    self._rules.setdefault(found[0].lower() if not found[2] else found[0], {}).update(style)
                elif "background" in body:
                    self.knows_backgrounds = False

    def style(self, tag: "Tag") -> dict[str, str]:
        """What is declared for an element itself."""
        style: dict[str, str] = {}
        for name in self._names(tag) if self._rules else ():
            style |= self._rules.get(name, {})
        for attribute, name in (("bgcolor", "background-color"), ("color", "color"), ("text", "color")):
            if (value := tag.get(attribute)) and tag.name in ("font", "body", "table", "tr", "td", "th"):
                style[name] = str(value).lower()
        return style | declarations(str(tag.get("style", "")))

    @staticmethod
    def _names(tag: "Tag") -> Iterator[str]:
        marks = [f".{name}" for name in tag.get_attribute_list("class") if name]
        marks += [f"#{tag['id']}"] if tag.get("id") else []
        yield tag.name
        yield from marks
        yield from (f"{tag.name}{mark}" for mark in marks)
