"""Which text of a slide the audience does not see: hidden shapes, shapes off the slide, tiny or in the colour behind it."""

from typing import Any

from knowledge.loaders.ooxml import local
from knowledge.loaders.web_unseen import Colour, same

_TINY = 200  # hundredths of a point
_OPAQUE = 100_000  # DrawingML counts opacity in thousandths of a percent
_SCHEME = {"bg1": "lt1", "tx1": "dk1", "bg2": "lt2", "tx2": "dk2"}


class SlideView:
    """What is known of one slide's colours and size."""

    def __init__(self, slide: Any, width: int, height: int) -> None:  # python-pptx carries no types
        self._width, self._height = width, height
        parts = (slide, slide.slide_layout, slide.slide_layout.slide_master)
        self._theme = _theme(parts[2])
        grounds = (ground for part in parts if (ground := _find(part.element, "bg")) is not None)
        ground = next(grounds, None)
        self._ground = (255, 255, 255) if ground is None else self._colour(ground)
        shapes = [shape for part in parts for shape in part.shapes]
        # A picture or a filled shape could lie behind any text.
        self._plain = not any(_is_picture(shape) or _own_fill(shape) is not None for shape in shapes)

    def why_unseen(self, shape: Any) -> str:
        """Why nobody sees a shape, or nothing."""
        described = _find(shape._element, "cNvPr")
        if described is not None and described.get("hidden") in ("1", "true"):
            return "in a hidden shape"
        sides = (shape.left, shape.top, shape.width, shape.height)
        if None in sides:
            return ""
        left, top, width, height = sides
        is_off = left >= self._width or top >= self._height or left + width <= 0 or top + height <= 0
        return "outside the slide" if is_off else ""

    def take_unseen(self, shape: Any) -> list[tuple[str, str]]:
        """Remove the text of runs that cannot be read; return it with the reason."""
        taken = []
        fill = _own_fill(shape)
        behind = self._colour(fill) if fill is not None else self._ground if self._plain else None
        for run in [element for element in shape._element.iter() if local(element) == "r"]:
            text = next((child for child in run if local(child) == "t" and child.text), None)
            if text is not None and (how := self._why(run, behind)):
                taken.append((text.text, how))
                text.text = ""
        return taken

    def _why(self, run: Any, behind: Colour | None) -> str:
        looks = next((child for child in run if local(child) == "rPr"), None)
        if looks is None:
            return ""
        if (looks.get("sz") or "").isdigit() and int(looks.get("sz")) < _TINY:
            return "too small to read"
        fill = next((child for child in looks if local(child) == "solidFill"), None)
        if fill is None:
            return ""
        alpha = _find(fill, "alpha")
        if alpha is not None and (alpha.get("val") or "").isdigit() and int(alpha.get("val")) < 0.05 * _OPAQUE:
            return "transparent"
        colour = self._colour(fill)
        return "in the colour of its background" if colour and behind and same(colour, behind) else ""

    def _colour(self, element: Any) -> Colour | None:
        """The one colour that an element names; None if it is a picture, a gradient, or changed by a tint."""
        for found in element.iter():
            name = local(found)
            if name in ("gradFill", "blipFill", "pattFill", "grpFill", "noFill"):
                return None
            if name in ("srgbClr", "sysClr", "schemeClr"):
                if any(local(child) != "alpha" for child in found):
                    return None
                value = found.get("lastClr") or found.get("val") or ""
                return self._theme.get(_SCHEME.get(value, value)) if name == "schemeClr" else _hexadecimal(value)
        return None


def _theme(master: Any) -> dict[str, Colour]:
    """Colours of the theme by name; python-pptx does not parse it."""
    from lxml import etree

    for part in (relation.target_part for relation in master.part.rels.values() if relation.reltype.endswith("/theme")):
        parser = etree.XMLParser(resolve_entities=False, no_network=True)
        scheme = _find(etree.fromstring(part.blob, parser), "clrScheme")
        named = {local(child): child for child in scheme} if scheme is not None else {}
        values = {name: (child[0].get("lastClr") or child[0].get("val") or "") for name, child in named.items() if len(child)}
        return {name: colour for name, value in values.items() if (colour := _hexadecimal(value))}
    return {}


def _hexadecimal(value: str) -> Colour | None:
    try:
        number = int(value, 16) if len(value) == 6 else -1
    except ValueError:
        return None
    return (number >> 16, number >> 8 & 255, number & 255) if number >= 0 else None


def _find(element: Any, name: str) -> Any:
    return next((found for found in element.iter() if local(found) == name), None)


def _own_fill(shape: Any) -> Any:
    """The fill that a shape declares for itself, or the style that gives it one."""
    looks = next((child for child in shape._element if local(child) == "spPr"), None)
    named = next((child for child in shape._element if local(child) == "style"), None)
    for child in looks if looks is not None else ():
        if local(child) == "noFill":
            return None
        if local(child).endswith("Fill"):
            return child
    return None if named is None else _find(named, "fillRef")


def _is_picture(shape: Any) -> bool:
    return local(shape._element) in ("pic", "graphicFrame")
