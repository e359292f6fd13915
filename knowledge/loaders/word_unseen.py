"""Which runs of a Word document no reader sees: marked as hidden, tiny, or in the colour of the paper."""

from collections.abc import Iterator, Mapping
from typing import Any

from knowledge.loaders.ooxml import local
from knowledge.loaders.web_unseen import colour_of, same

_TINY = 4  # half points
_DEEPEST_STYLE = 20
_PAPER = (255, 255, 255)
_PAINTED = ("txbxContent", "tbl")  # a shape or a table may be filled in ways that are written elsewhere


def take_unseen(body: Any, styles: Mapping[str, Any], background: str = "") -> Iterator[tuple[str, str]]:
    """Remove the text of hidden runs and yield it with the reason.

    Args:
        body: the w:body.
        styles: by id, as python-docx gives them.
        background: colour of the paper in hexadecimal, if it is not white.
    """
    for run in [element for element in body.iter() if local(element) == "r"]:
        texts = [element for element in run if local(element) == "t" and element.text]
        if texts and (how := _why(run, styles, background)):
            yield "".join(text.text for text in texts), how
            for text in texts:
                text.text = ""


def _why(run: Any, styles: Mapping[str, Any], background: str) -> str:
    levels = list(_properties(run, styles))
    hidden = _first(levels, "vanish")
    if hidden is not None and _value(hidden) not in ("0", "false", "off"):
        return "marked as hidden"
    size = _first(levels, "sz")
    if size is not None and _value(size).isdigit() and int(_value(size)) < _TINY:
        return "too small to read"
    colour = _first(levels, "color")
    if colour is None or background or _first(levels, "shd") is not None or _first(levels, "highlight") is not None:
        return ""
    if any(local(above) in _PAINTED or _is_shaded(above) for above in run.iterancestors()):
        return ""
    drawn = colour_of(f"#{_value(colour)}")
    return "in the colour of the paper" if isinstance(drawn, tuple) and same(drawn, _PAPER) else ""


def _properties(run: Any, styles: Mapping[str, Any]) -> Iterator[Any]:
    """Every w:rPr that a run takes its looks from, the nearest first."""
    own = _child(run, "rPr")
    paragraph = next((above for above in run.iterancestors() if local(above) == "p"), None)
    layout = _child(paragraph, "pPr")
    if own is not None:
        yield own
    for chosen in (_child(own, "rStyle"), _child(layout, "pStyle")):
        style = styles.get(_value(chosen)) if chosen is not None else None
        for _ in range(_DEEPEST_STYLE):  # styles may build on each other in a circle
            if style is None:
                break
            if (looks := _child(style.element, "rPr")) is not None:
                yield looks
            style = styles.get(style.element.basedOn_val) if style.element.basedOn_val else None


def _first(levels: list[Any], name: str) -> Any:
    return next((found for looks in levels if (found := _child(looks, name)) is not None), None)


def _child(element: Any, name: str) -> Any:
    return None if element is None else next((child for child in element if local(child) == name), None)


def _value(element: Any) -> str:
    return next((value for name, value in element.attrib.items() if name.endswith("}val")), "")


def _is_shaded(element: Any) -> bool:
    return local(element) == "p" and _child(_child(element, "pPr"), "shd") is not None
