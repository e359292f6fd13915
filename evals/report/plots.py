"""Matplotlib figures as inline SVG that takes colours and type from the page, so it follows the reader's light or dark mode.

Matplotlib knows no CSS, so every colour is drawn as a stand-in and exchanged in the SVG's text for `currentColor` or one of the
page's variables (--ink-soft, --rule and the series colours --c1 and --c2, which style.html.j2 chooses for both modes).
"""

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TEXT, SOFT, RULE, FIRST, SECOND = "#010101", "#020202", "#030303", "#040404", "#050505"
_STAND_INS = {
    TEXT: "currentColor",
    SOFT: "var(--ink-soft)",
    RULE: "var(--rule)",
    FIRST: "var(--c1)",
    SECOND: "var(--c2)",
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: the page's font, selectable, found by the browser's search
    "font.size": 10,
    "text.color": TEXT,
    "text.parse_math": False,
    "axes.labelcolor": TEXT,
    "axes.edgecolor": SOFT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelsize": 10,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": TEXT,
    "ytick.labelcolor": TEXT,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "patch.linewidth": 0,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.labelcolor": TEXT,
    "legend.handlelength": 1.8,
    "legend.borderaxespad": 0.2,
}
_INCHES = 1 / 72  # one unit of the SVG's viewBox is one point
_SIZE = (380, 236)
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def draw(label: str, paint: Callable[["Axes"], None], size: tuple[int, int] = _SIZE) -> Markup:
    """A figure with one pair of axes as an <svg> element.

    Args:
        label: what a screen reader says in place of the picture; no other figure of the page may have it.
        paint: draws on the axes, in the colours of this module only.
        size: width and height in CSS pixels at full size.
    """
    import matplotlib
    from matplotlib.figure import Figure

    # The salt makes ids that are the same every time, and that no other figure of the page has.
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": label}):
        figure = Figure(figsize=(size[0] * _INCHES, size[1] * _INCHES), layout="constrained")
        paint(figure.add_subplot())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata=_NO_METADATA)
    return _inline(buffer.getvalue(), label)


def _inline(svg: str, label: str) -> Markup:
    """What may stand within a page: no prologue, no namespaces, no style that would reach the page, no id twice."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, count=1, flags=re.DOTALL)
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'(<g) id="[^"]*"', r"\1", body)  # matplotlib refers to its markers and clips only
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    body = re.sub(r"(\d+\.\d\d)\d+", r"\1", body)
    body = re.sub(r"\s*\n\s*", " ", body)
    for colour, stand_in in _STAND_INS.items():
        body = body.replace(colour, stand_in)
    box = re.search(r'viewBox="[^"]*"', body)
    assert box, "matplotlib writes a viewBox"
    return Markup(re.sub(r"^<svg[^>]*>", f'<svg {box[0]} role="img" aria-label="{escape(label)}">', body, count=1))
