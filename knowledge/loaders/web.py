"""HTML to blocks: what a reader of the page sees, without navigation."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from knowledge.loaders.builder import TextBuilder, one_line
from knowledge.loaders.markdown import DIAGRAMS
from knowledge.loaders.text import decode
from knowledge.loaders.web_unseen import take_unseen
from knowledge.passage import Document

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag
    from bs4.element import PageElement

_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?([\w-]+)""", re.IGNORECASE)
# fmt: off
_UNSEEN = frozenset({
    "script", "style", "nav", "noscript", "template", "svg", "iframe", "object", "embed", "audio", "video", "canvas",
    "button", "select", "input", "textarea", "dialog", "head",
})
_BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "div", "dl", "dt",
    "fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "html", "legend", "li", "main", "menu", "ol",
    "p", "section", "summary", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul",
})
# fmt: on
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BREAK = "\u2028"  # stands for <br>, whose line end must survive where other white space collapses; mend() makes it "\n"
_SPACE = re.compile(rf"[^\S{_BREAK}]+")


def load_html(path: Path, data: bytes, source: str) -> Document:
    """Load a web page; its first h1 is the title, else its title element.

    Raises:
        UnreadableFile: binary content, no known encoding, or no text.
    """
    declared = _DECLARED.search(data[:2048])
    builder = TextBuilder()
    title = add_html(builder, decode(data, path.name, declared[1].decode() if declared else None))
    return builder.document(path, data, source, fallback=title)


def add_html(builder: TextBuilder, markup: str) -> str:
    """Add the blocks of a page, and what it hides, to `builder`; return the text of its title element, empty without one."""
    from bs4 import BeautifulSoup

    # BeautifulSoup warns of an XML declaration in HTML, and of text that might be a file name.
    markup = re.sub(r"\A\s*<\?xml[^>]*\?>", "", markup)
    soup = BeautifulSoup(markup if "<" in markup else f"<p>{markup}</p>", "lxml")
    title = one_line(soup.title.get_text()) if soup.title else ""
    _report_unusual(soup, builder)
    _simplify(soup)
    _Reader(builder).read(soup)
    return title


def _report_unusual(soup: "BeautifulSoup", builder: TextBuilder) -> None:
    """Tell what the page hides, and remove it; what most pages keep out of sight is told as usual."""
    from bs4.element import Comment

    for comment in soup.find_all(string=lambda text: isinstance(text, Comment)):
        builder.hide(str(comment), "in a comment", usual=True)
    for tag in soup.find_all(["template", "noscript", "meta", "img", "a", "dialog"]):
        for said in (tag.get("content"), tag.get("alt"), tag.get("title"), tag.get_text(" ") if tag.name in _UNSEEN else ""):
            builder.hide(str(said or ""), "outside the text of the page", usual=True)
    for how, text in take_unseen(soup):
        builder.hide(text, how)


def _simplify(soup: "BeautifulSoup") -> None:
    """Drop what is not seen, and replace formulas and line breaks by text."""
    for tag in soup.find_all("script", type=re.compile("math/tex")):
        tag.replace_with(f"${tag.get_text()}$")
    for tag in soup.find_all("math"):
        notation = tag.find("annotation", encoding="application/x-tex")
        tex = tag.get("alttext") or (notation.get_text() if notation else "")
        tag.replace_with(f"${tex}$" if tex else tag.get_text())
    for tag in soup.find_all(_is_unseen):
        if not tag.decomposed:
            tag.decompose()
    for tag in soup.find_all("sup"):
        if re.fullmatch(r"[-+\u2212]?\w{1,3}", tag.get_text()) and not tag.find("a"):
            tag.insert(0, "^")  # a power, not a longer number
    for tag in soup.find_all("br"):
        tag.replace_with(_BREAK)


def _is_unseen(tag: "Tag") -> bool:
    classes = tag.get_attribute_list("class")
    return (
        tag.name in _UNSEEN
        or tag.get("aria-hidden") == "true"
        or tag.get("role") in ("navigation", "search")
        or "headerlink" in classes  # pilcrow that Sphinx puts behind a heading
        or "linenos" in classes
    )


class _Reader:
    """One walk over a simplified page, without recursion since nesting has no bound."""

    def __init__(self, builder: TextBuilder) -> None:
        self._builder = builder
        self._inline: list[str] = []
        self._mark = ""  # of the list item whose text comes next
        self._after_item = False

    def read(self, soup: "BeautifulSoup") -> None:
        from bs4 import Tag

        stack: list[tuple[PageElement, bool]] = [(soup, False)]
        while stack:
            node, leaving = stack.pop()
            if leaving:
                self._flush()
            elif not isinstance(node, Tag):
                self._inline.append(_visible(node))
            elif not self._leaf(node):
                if node.name in _BLOCKS:
                    self._flush()
                    self._enter(node)
                    stack.append((node, True))
                stack.extend((child, False) for child in reversed(node.contents))
        self._flush()

    def _leaf(self, tag: "Tag") -> bool:
        """Add a heading, code, diagram or table as a whole; return False for anything else."""
        if tag.name in _HEADINGS:
            self._flush()
            self._builder.add("heading", _text(tag), level=_HEADINGS[tag.name])
        elif tag.name == "pre" or "mermaid" in tag.get_attribute_list("class"):
            self._flush()
            self._builder.add("diagram" if _is_diagram(tag) else "code", _verbatim(tag))
        elif tag.name == "table" and not tag.find(["table", "pre", *_HEADINGS]) and len(tag.find_all(["td", "th"])) > 1:
            self._flush()
            rows = [row.find_all(["td", "th"], recursive=False) for row in tag.find_all("tr")]
            lines = [" | ".join(one_line(_text(cell)) for cell in row) for row in rows if row]
            caption = [one_line(_text(caption)) for caption in tag.find_all("caption")]
            self._builder.add("table", "\n".join(line for line in caption + lines if line.strip(" |")))
        else:
            return False
        self._after_item = False
        return True

    def _enter(self, tag: "Tag") -> None:
        if tag.name == "ol":
            for number, item in enumerate(tag.find_all("li", recursive=False), 1):
                item["value"] = str(number)
        elif tag.name == "li":
            self._mark = f"{tag['value']}. " if tag.get("value") else "- "

    def _flush(self) -> None:
        text = _SPACE.sub(" ", "".join(self._inline)).strip()
        self._inline.clear()
        if text:
            self._builder.add("text", self._mark + text, tight=bool(self._mark) and self._after_item)
            self._after_item, self._mark = bool(self._mark), ""


def _visible(node: "PageElement") -> str:
    """Return a node's text if it is plain text: comments and declarations are strings of their own classes."""
    from bs4.element import CData, NavigableString

    return str(node) if type(node) in (NavigableString, CData) else ""


def _text(tag: "Tag") -> str:
    """Return the text inside a tag; blocks inside it are kept apart, words split by inline markup are not."""
    from bs4 import Tag

    return "".join(
        (" " if node.name in _BLOCKS else "") if isinstance(node, Tag) else _visible(node) for node in tag.descendants
    )


def _verbatim(tag: "Tag") -> str:
    return "".join(_visible(node) for node in tag.descendants)


def _is_diagram(tag: "Tag") -> bool:
    inner = tag.find("code")
    classes = tag.get_attribute_list("class") + (inner.get_attribute_list("class") if inner else [])
    return any(str(name).removeprefix("language-") in DIAGRAMS for name in classes if name)
