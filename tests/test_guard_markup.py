"""Markup that acts is made plain; code, mathematics and allowed links stay. An HTML parser judges what is rendered."""

import re
import time

import pytest
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from course_guard.rules.markup import UnsafeMarkupRule

ALLOWED = "https://ok.org/a"
RULE = UnsafeMarkupRule([ALLOWED])


def acting(text):
    """What a page that allows everything would do with the text."""
    page = BeautifulSoup(MarkdownIt("commonmark", {"html": True}).enable("table").render(text), "html.parser")
    for tag in page.find_all(True):
        urls = {value for name, value in tag.attrs.items() if name in ("href", "src") and re.match(r"[a-z][\w+.-]*:|//", value)}
        active = tag.name in ("img", "script", "iframe", "style", "svg") or any(name.startswith("on") for name in tag.attrs)
        if active or urls - {ALLOWED}:
            yield str(tag)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('See [here](http://evil.org/?q=1 "t") now.', "See here now."),
        ("![words](http://evil.org/p.png)", "words"),
        ("[![words](http://e.org/i)](http://e.org)", "words"),
        ("<script>alert(1)</script> hi", "&lt;script>alert(1)&lt;/script> hi"),
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)>"),
        ("<img/src=x onerror=alert(1) ", "&lt;img/src=x onerror=alert(1) "),
        ('<img title="<" src=x>', '&lt;img title="<" src=x>'),
        ("visit https://evil.org/x?d=1.", "visit `https://evil.org/x?d=1`."),
        ("www.evil.org now", "`www.evil.org` now"),
        ("<https://evil.org>", "`https://evil.org`"),
        ("[x][1]\n\n[1]: http://evil.org", "[x][1]\n\n\\[1]: `http://evil.org`"),
        ("](//evil.org/p.png)", "\\](`//evil.org/p.png`)"),
        ("[x](java&#115;cript:alert(1))", "x"),
        ("[x](data:text/html;base64,AAA)", "x"),
        ("http\\://evil.org", "\n\n```text\nhttp\\://evil.org\n```\n"),
        ("> quote\n> [x](http://e.org)\n\n- ![i](http://e.org/x)", "> quote\n> x\n\n- i"),
        ("| `a | [x](http://e.org) | b` |\n|---|---|---|", "| `a | x | b` |\n|---|---|---|"),
        ("<pre>\n```\n</pre><script>x\n```", "<pre>\n```\n</pre>&lt;script>x\n```"),
        ("<div>[x](http://evil.org)", "<div>x"),  # a block of HTML alone, but not at the end of another sentence
        ("```text\n[x](http://evil.org)", "```text\nx"),
        ("`a\n\n[x](http://evil.org)\n\n`", "`a\n\nx\n\n`"),
        ("[1](#quote-1-0)", "1"),
        ("<!-- hidden -->", "&lt;!-- hidden -->"),
        (f"[good]({ALLOWED}) and [bad](https://ok.org/b)", f"[good]({ALLOWED}) and bad"),
        (f"![never]({ALLOWED})", "never"),
        ("a\r\n[x](http://e.org)\0", "a\nx\ufffd"),
    ],
)
def test_what_acts_is_made_plain(text, expected):
    finding = RULE.look(text)
    assert finding.replacement == expected
    assert RULE.look(expected) is None
    assert list(acting(expected)) == []


@pytest.mark.parametrize(
    "text",
    [
        f"[good]({ALLOWED}), see {ALLOWED}.",
        "if x < y and y > z, for i<a and b>c, $x_{<t}$ and $p(x<a)$",
        "`<script>alert(1)</script>` and the `[x](http://e.org)` syntax",
        '```html\n<img src=x onerror=y>\n<a href="http://e.org">x</a>\n```',
        "vector<std::string> and List<int>",
        "the tokens <pad>, <unk>, <image> and <s>",
        "7//2 = 3, a//b // a comment",
        "array[i](x), f[0](1) and experts[e](x[0])",
        "[1] Vaswani et al., see [12]: the paper",
        "<b>bold</b> H<sub>2</sub>O<br>, x & y, a &lt; b",
        "\\frac{a}{b} \\& c, P(A|B)",
        "the javascript: scheme and s3://bucket",
        "",
    ],
)
def test_code_mathematics_and_allowed_links_pass(text):
    assert RULE.look(text) is None


PIECES = st.sampled_from(
    ["[", "]", "(", ")", "!", "<", ">", "`", "```", "~~~", "\n", "\n\n", " ", "http://e.org", "//e.org", "www.e.org", "script",
     "img", " src=x", " onerror=y", "/", "\\", "&#58;", "&lt;", '"', "'", "|", "|-", "- ", "> ", "# ", "1. ", "a", "é", "*",
     "_", ":", "[1]:", "](", "](http://e.org)", "![", "[a](http://e.org)", "<!--", "-->", "<a href=", "javascript:", "\t",
     "    ", "\r", "\0", "$"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=30).map("".join), st.sampled_from(["", "Words before. ", "Words before.\n\n", "- "]))
@settings(max_examples=400, deadline=None)
def test_nothing_acts_whatever_is_written(text, before):
    finding = RULE.look(text)
    shown = finding.replacement if finding else text
    assert RULE.look(shown) is None
    assert list(acting(before + shown)) == []


BOMBS = [
    "[",
    "![",
    "[a](b",
    "<",
    '<a href="',
    "`a ``b ",
    "> ",
    "- ",
    "&amp;",
    "[[]",
    "![[](",
    "](//a.b",
    "*a_ ",
    "| a ",
    "<!--",
]


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("size", [20_000, 1_000_000])
def test_bombs_cost_seconds_at_most(bomb, size):
    text = (bomb * (size // len(bomb) + 1))[:size]
    started = time.process_time()
    RULE.look(text)
    assert time.process_time() - started < 20
