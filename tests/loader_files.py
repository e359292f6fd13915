"""Makes one small file of every format; each holds the same lesson, so that tests can ask for the same words everywhere."""

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

MARKDOWN = """\
---
title: "Optimisation, week 3"
tags: [gradient]
---
# Gradient descent

It follows the **negative gradient** of the loss.
A second line of the same paragraph.

Learning rate
-------------

- Too large: it diverges.
  Still the same item.
- Too small: it is slow.

```python
w -= rate * grad
```

```mermaid
graph TD; A --> B
```

| rate | result |
|------|--------|
| 0.1  | good   |
"""

HTML = """\
<!DOCTYPE html>
<html><head><title>Site title</title><style>p {color: red}</style><script>var secret = 1</script></head>
<body><nav><a href="/">Home menu</a></nav>
<h1>Gradient descent<a class="headerlink" href="#x">\u00b6</a></h1>
<p>It follows the <b>neg</b>ative&nbsp;gradient of the loss.<br>Second line.</p>
<p hidden>hidden words</p><p style="display: none">hidden words</p>
<h2>Learning rate</h2>
<ul><li>Too large: it diverges.</li><li><p>Too small: it is slow.</p></li></ul>
<ol><li>First step</li><li>Second step</li></ol>
<table><tr><th>rate</th><th>result</th></tr><tr><td>0.1</td><td><p>good</p></td></tr></table>
<pre><code class="language-python">for x in y:\n    w -= rate * grad</code></pre>
<pre class="mermaid">graph TD; A --&gt; B</pre>
<p>Error grows with h<sup>2</sup>, so <math alttext="x^2"><mi>x</mi></math>.</p>
<script>document.write("injected words")</script><!-- a comment --></body></html>
"""


def pdf(pages: list[list[tuple[str, float, str]]], title: str = "", password: str = "", outline: bool = False) -> bytes:
    """Make a PDF of pages of (text, font size, font) lines from the top down; a text of None leaves a gap."""
    from reportlab.lib.pdfencrypt import StandardEncryption
    from reportlab.pdfgen.canvas import Canvas

    file = BytesIO()
    canvas = Canvas(file, encrypt=StandardEncryption(password, canPrint=0) if password else None)
    canvas.setTitle(title)
    for number, lines in enumerate(pages):
        y = 780.0
        for text, size, font in lines:
            canvas.setFont(font, size)
            canvas.drawString(70 + 6 * (len(text) - len(text.lstrip())), y, text.lstrip())
            if outline and size > 15:
                canvas.bookmarkPage(f"{number}-{text}")
                canvas.addOutlineEntry(text, f"{number}-{text}")
            y -= size * 1.2 if text else 12
        canvas.showPage()
    canvas.save()
    return file.getvalue()


def lesson_pages() -> list[list[tuple[str, float, str]]]:
    """Four pages with a running header and page numbers, a heading of two sizes, a broken word and code."""
    body, mono = "Helvetica", "Courier"
    pages = []
    for number in range(1, 5):
        pages.append(
            [
                ("Course 101: Optimisation", 8, body),
                ("", 12, body),
                (f"Chapter {number}: Gradient descent", 20, body),
                ("", 12, body),
                (f"Lesson {number} follows the negative gra-", 11, body),
                ("dient of the loss.", 11, body),
                ("", 12, body),
                ("def step(w):", 10, mono),
                ("    return w - rate * grad", 10, mono),
                ("", 12, body),
                (f"Page {number} of 4", 8, body),
            ]
        )
    return pages


def scanned_pdf() -> bytes:
    """Make a PDF whose only content is a picture."""
    from PIL import Image
    from reportlab.lib.utils import ImageReader
    from reportlab.pdfgen.canvas import Canvas

    file = BytesIO()
    canvas = Canvas(file)
    canvas.drawImage(ImageReader(Image.new("RGB", (40, 40), "grey")), 0, 0, 500, 700)
    canvas.showPage()
    canvas.save()
    return file.getvalue()


def docx() -> bytes:
    """Make a Word document with styles, a list, a table, code and an inserted revision."""
    import docx as word
    from docx.enum.style import WD_STYLE_TYPE
    from docx.oxml import parse_xml

    document = word.Document()
    document.core_properties.title = "A stale template title"
    document.styles.add_style("Source Code", WD_STYLE_TYPE.PARAGRAPH)
    document.add_heading("Gradient descent", 1)
    document.add_paragraph("It follows the negative gradient of the loss.")
    document.add_heading("Learning rate", 2)
    document.add_paragraph("Too large: it diverges.", style="List Bullet")
    document.add_paragraph("Too small: it is slow.", style="List Bullet")
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip(table._cells, ("rate", "result", "0.1", "good"), strict=True):
        cell.text = text
    document.add_paragraph("for x in y:", style="Source Code")
    document.add_paragraph("    w -= rate * grad", style="Source Code")
    names = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    document.element.body.insert(
        1, parse_xml(f"<w:p {names}><w:ins w:id='1'><w:r><w:t>Inserted words.</w:t></w:r></w:ins></w:p>")
    )
    file = BytesIO()
    document.save(file)
    return file.getvalue()


def pptx() -> bytes:
    """Make a deck of three slides: title and bullets with notes, a table, and a hidden one."""
    from pptx import Presentation
    from pptx.util import Inches

    deck = Presentation()
    first = deck.slides.add_slide(deck.slide_layouts[1])
    first.shapes.title.text = "Gradient descent"
    first.placeholders[1].text = "It follows the negative gradient of the loss.\nToo large: it diverges."
    first.notes_slide.notes_text_frame.text = "Say why the sign is negative."
    second = deck.slides.add_slide(deck.slide_layouts[5])
    second.shapes.title.text = "Learning rate"
    table = second.shapes.add_table(2, 2, Inches(1), Inches(2), Inches(4), Inches(1)).table
    for cell, text in zip(table.iter_cells(), ("rate", "result", "0.1", "good"), strict=True):
        cell.text = text
    group = second.shapes.add_group_shape()
    group.shapes.add_textbox(0, 0, 100, 100).text_frame.text = "Grouped words"
    hidden = deck.slides.add_slide(deck.slide_layouts[5])
    hidden.shapes.title.text = "Solutions"
    hidden.element.set("show", "0")
    file = BytesIO()
    deck.save(file)
    return file.getvalue()


def epub(extra: dict[str, str] | None = None) -> bytes:
    """Make an e-book of two chapters, listed in the manifest against the order of the spine."""
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="OEBPS/content.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
    )
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" version="3.0">'
        '<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>Optimisation</dc:title></metadata><manifest>'
        '<item id="b" href="text/second%20one.xhtml" media-type="application/xhtml+xml"/>'
        '<item id="a" href="text/first.xhtml" media-type="application/xhtml+xml"/>'
        '</manifest><spine><itemref idref="a"/><itemref idref="b"/></spine></package>'
    )
    page = '<?xml version="1.0" encoding="utf-8"?><html xmlns="http://www.w3.org/1999/xhtml"><body>{}</body></html>'
    members = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": container,
        "OEBPS/content.opf": package,
        "OEBPS/text/first.xhtml": page.format("<h1>Gradient descent</h1><p>It follows the negative gradient of the loss.</p>"),
        "OEBPS/text/second one.xhtml": page.format("<h1>Learning rate</h1><p>Too large: it diverges.</p>"),
        **(extra or {}),
    }
    return zipped(members)


def zipped(members: dict[str, str]) -> bytes:
    """Make a zip file of texts by name."""
    file = BytesIO()
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return file.getvalue()


def notebook() -> bytes:
    """Make a notebook: Markdown, code with a short, a long and an object output, raw."""

    def output(text: str) -> dict[str, object]:
        return {"output_type": "stream", "name": "stdout", "text": text.splitlines(keepends=True)}

    outputs = [output("0.25\n"), output("x" * 5000), output("<Figure size 640x480>")]
    cells = [
        {
            "cell_type": "markdown",
            "metadata": {},
            "source": ["# Gradient descent\n", "\n", "It follows the negative gradient."],
        },
        {
            "cell_type": "code",
            "metadata": {},
            "source": "w -= rate * grad",
            "outputs": outputs,
            "execution_count": 1,
        },
        {"cell_type": "markdown", "metadata": {}, "source": "## Learning rate\n\n- Too large\n- Too small"},
        {"cell_type": "raw", "metadata": {}, "source": "raw words"},
    ]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


PYTHON = '''\
"""Module words."""
import math

RATE = 0.1


@cached
def step(w):
    """One step."""
    return w - RATE * grad(w)


class Loss:
    def value(self):
        return math.inf
'''

CSV = "rate;result;comment\n" + "".join(f"0.{i};good {i};\n" for i in range(1, 46)) + "0.9;bad;late;extra\n0.8\n"

SAMPLES: dict[str, Callable[[], bytes]] = {
    ".md": MARKDOWN.encode,
    ".txt": lambda: b"First paragraph about gradients.\nSecond line.\n\n  Second paragraph.\n",
    ".html": HTML.encode,
    ".pdf": lambda: pdf(lesson_pages(), "Optimisation"),
    ".docx": docx,
    ".pptx": pptx,
    ".epub": epub,
    ".ipynb": notebook,
    ".csv": CSV.encode,
    ".tsv": lambda: b"name\tvalue\nrate\t0.1\n",
    ".py": PYTHON.encode,
    ".js": lambda: b"import x from 'y';\n\nexport async function step(w) {\n  return w;\n}\n\nconst f = (a) => a;\n",
    ".go": lambda: b"package main\n\nfunc step(w float64) float64 {\n\treturn w\n}\n",
    ".sh": lambda: b"#!/bin/sh\nset -e\n\nmain() {\n  echo hi\n}\n",
}


def write(folder: Path, name: str, data: bytes) -> Path:
    """Write a file and return its path."""
    path = folder / name
    path.write_bytes(data)
    return path
