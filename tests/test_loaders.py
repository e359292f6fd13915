import json
import os
import random
import tempfile
from hashlib import sha256
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import loader_files as files
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knowledge.errors import UnreadableFile
from knowledge.loaders import archive as archive_module
from knowledge.loaders import load as load_module
from knowledge.loaders.builder import plain, pretty
from knowledge.loaders.load import MAX_BYTES, SUFFIXES, load
from knowledge.loaders.pdf_layout import Line, pieces, without_furniture
from knowledge.loaders.text import mend
from knowledge.passage import Document


@pytest.fixture
def load_bytes(tmp_path):
    """Write bytes under a name and load them."""

    def run(name: str, data: bytes | str) -> Document:
        return load(files.write(tmp_path, name, data.encode() if isinstance(data, str) else data))

    return run


def texts(document: Document, kind: str) -> list[str]:
    return [document.text[block.start : block.end] for block in document.blocks if block.kind == kind]


def outline(document: Document) -> list[tuple[int, str]]:
    return [(block.level, document.text[block.start : block.end]) for block in document.blocks if block.kind == "heading"]


def refusal(load_bytes, name: str, data: bytes | str) -> UnreadableFile:
    with pytest.raises(UnreadableFile) as caught:
        load_bytes(name, data)
    assert caught.value.problem and caught.value.remedy
    return caught.value


def check(document: Document) -> None:
    """What must hold for every document."""
    assert document.blocks and document.title == document.title.strip() != ""
    document.text.encode()  # no lone surrogates
    assert "\r" not in document.text
    end = 0
    for block in document.blocks:
        assert end <= block.start < block.end <= len(document.text)
        words = document.text[block.start : block.end]
        assert words.rstrip() == words and words.strip()
        assert block.kind == "code" or words.strip() == words
        assert 1 <= block.level <= 6 if block.kind == "heading" else block.level == 0
        assert block.kind != "heading" or "\n" not in words
        end = block.end


@pytest.mark.parametrize("suffix", files.SAMPLES)
def test_spans_hash_and_source(suffix, tmp_path):
    data = files.SAMPLES[suffix]()
    path = files.write(tmp_path, f"03-my_lesson{suffix.upper()}", data)
    document = load(path)
    check(document)
    assert document.content_hash == sha256(data).hexdigest()
    assert document.source == str(path.resolve())
    assert load(path, "course/x").source == "course/x"


@pytest.mark.parametrize("suffix", [".md", ".html", ".docx", ".pptx", ".epub", ".ipynb"])
def test_every_rich_format_keeps_headings_in_order(suffix, load_bytes):
    document = load_bytes(f"lesson{suffix}", files.SAMPLES[suffix]())
    assert [words for _, words in outline(document)] == ["Gradient descent", "Learning rate"]
    assert "negative gradient" in " ".join(texts(document, "text"))


# --- text -------------------------------------------------------------------------------------------------------------


def misread(text: str, codec: str = "mac_roman") -> str:
    return text.encode().decode(codec)


SEED_LIKE = """\
# Roadmap

## 1\ufe0f\u20e3 What is Machine Learning (ML)?
Let’s learn → by example.

### \U0001f4cc Steps to Build a Model
\u2714 **Tokenize** the text

\U0001f449 François & co.

```mermaid
graph TD; A["\U0001f9e0 Deep Learning"]
```
"""


def test_seed_like_mojibake_comes_out_whole(load_bytes):
    document = load_bytes("seed.txt", misread(SEED_LIKE))
    assert document.text == SEED_LIKE
    assert outline(document)[1:] == [
        (2, "1\ufe0f\u20e3 What is Machine Learning (ML)?"),
        (3, "\U0001f4cc Steps to Build a Model"),
    ]
    assert texts(document, "diagram") == ['```mermaid\ngraph TD; A["\U0001f9e0 Deep Learning"]\n```']


@pytest.mark.parametrize("codec", ["mac_roman", "latin-1"])
@pytest.mark.parametrize("right", ["→", "\U0001f4cc Code", "DALL·E – café"])
def test_mojibake_without_context_is_mended(codec, right):
    assert mend(misread(right, codec)) == right


@pytest.mark.parametrize(
    "good",
    [
        "‘quoted’ — “text”… – it’s",
        "√π ≈ 1.772, σ = √Σ(x − µ)²/n, ‖x‖² · ∇f(x), ∫₀^∞ e^{-x²} dx",
        "∀x ∃y: ¬P ∨ Q ∧ R ⇒ S; if a ≠ b → c ↦ d; θ ∈ ℝⁿ",
        "α, β, γ, Δ — Η μηχανική μάθηση",
        "L’été à Nîmes, où «ça»; SÃO JOÃO À NOITE; ¿Qué? ¡Sí!",
        "Привет, мир — „тест“; 日本語テスト; ＡＢＣ １２３",
        'x = "&lt;b&gt;"  # § © ® ™, 50 £ / 20 €, °C ±5 %',
        "\U0001f1eb\U0001f1f7 \U0001f468\u200d\U0001f469\u200d\U0001f467 1\ufe0f\u20e3 می\u200cخواهم",
    ],
)
def test_good_text_is_left_alone(good):
    assert mend(good) == good
    broken = misread("café →")  # mojibake on another line must not infect it
    assert mend(f"{broken}\n{good}") == f"café →\n{good}"


def test_what_nobody_sees_is_removed():
    assert mend("a\u00adb\u200bc\ufeffd\u202ee\x00f\x07g") == "abcdefg"
    assert mend("plain\U000e0049\U000e0067 words") == "plain words"  # tag characters carry hidden instructions
    assert mend("one\u00a0two\r\nthree\rfour\u2028five\x0csix") == "one two\nthree\nfour\nfive\nsix"
    assert mend("Auf\u200clage e\u0301 \ufb01nd \x1b[31mred\x1b[0m") == "Auflage é find red"


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("L'été, les élèves étudient la régression.", "latin-1"),
        ("The model’s “loss” — naïve café.", "cp1252"),
        ("Größere Schrittweiten führen zu Überläufen.", "latin-1"),
        ("Линейная регрессия предсказывает число.", "cp1251"),
        ("機械学習とは、データから学ぶことです。", "shift_jis"),
        ("Gradient → descent", "utf-16"),
        ("Gradient → descent", "utf-8-sig"),
        ("Gradient → descent", "utf-32"),
    ],
)  # fmt: skip
def test_encodings(text, codec, load_bytes):
    assert load_bytes("a.txt", text.encode(codec)).text == text


def test_utf8_with_a_broken_byte_stays_utf8(load_bytes):
    assert load_bytes("a.txt", "éèàüöä café".encode() + b" \xe9nd").text.startswith("éèàüöä café")


@pytest.mark.parametrize("name", ["a.md", "a.txt", "a.py", "a.csv", "a.html"])
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x89PNG\r\n\x1a\n" + b"abc" * 50, "PNG image"),
        (b"\x7fELF\x02\x01\x01" + b"\0" * 50, "program"),
        (files.zipped({"a": "b"}), "zip archive"),
        (b"abc\0def" * 20, "binary"),
        (b"\x01\x02\x03abc" * 30, "binary"),
        (b"{\\rtf1 hello}", "RTF"),
    ],
)
def test_binary_named_as_text_is_refused(name, data, reason, load_bytes):
    assert reason in refusal(load_bytes, name, data).problem


# --- Markdown and plain text ------------------------------------------------------------------------------------------


def test_markdown_structure(load_bytes):
    document = load_bytes("lesson.md", files.MARKDOWN)
    assert document.title == "Optimisation, week 3"
    assert document.text == files.MARKDOWN
    assert outline(document) == [(1, "Gradient descent"), (2, "Learning rate")]
    assert texts(document, "text") == [
        "It follows the **negative gradient** of the loss.\nA second line of the same paragraph.",
        "- Too large: it diverges.\n  Still the same item.",
        "- Too small: it is slow.",
    ]
    assert texts(document, "code") == ["```python\nw -= rate * grad\n```"]
    assert texts(document, "diagram") == ["```mermaid\ngraph TD; A --> B\n```"]
    assert texts(document, "table") == ["| rate | result |\n|------|--------|\n| 0.1  | good   |"]


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("## Closed ##\n\nx", [(2, "Closed")]),
        ("### **All bold**\n\nx", [(3, "All bold")]),
        ("# **Half** bold\n\nx", [(1, "**Half** bold")]),
        ("   Title\n=====\n\nx", [(1, "Title")]),
        ('<h1 align="center">Course</h1>\n\nx', [(1, "Course")]),
        ("# C#\n\nx", [(1, "C#")]),
        ("A paragraph of\ntwo lines\n---\nx", []),  # meant as a rule
        ("> # quoted\n\nx", []),
        ("```\n# comment\n```\n", []),
        ("#\n\nx", []),
        ("# " + "long " * 100 + "\n\nx", []),
    ],
)
def test_markdown_headings(markdown, expected, load_bytes):
    document = load_bytes("a.md", markdown)
    check(document)
    assert outline(document) == expected


def test_a_long_title_is_cut_cleanly(load_bytes):
    check(load_bytes("a.md", "---\ntitle: " + "nine char " * 30 + "\n---\nwords\n"))


def test_markdown_blocks_inside_lists_and_quotations(load_bytes):
    document = load_bytes(
        "a.md", "1. Install\n\n   ```\n   pip\n   ```\n\n   then\n   - run\n2. Next\n\n> quoted\n>\n> words\n"
    )
    assert [(b.kind, document.text[b.start : b.end]) for b in document.blocks] == [
        ("text", "1. Install"),
        ("code", "   ```\n   pip\n   ```"),
        ("text", "then\n   - run"),
        ("text", "2. Next"),
        ("text", "> quoted\n>\n> words"),
    ]


def test_markdown_leaves_out_comments_and_embedded_images(load_bytes):
    document = load_bytes(
        "a.md", f"<!-- note to self -->\n\nSee ![x](data:image/png;base64,{'A' * 5000}) here.\n\n<img src='a.png'>\n"
    )
    assert texts(document, "text") == ["See ![x](data:image/png;base64,) here."]


@pytest.mark.parametrize("info", ["{mermaid}", "plantuml", "dot", "Mermaid title=x"])
def test_diagram_fences(info, load_bytes):
    assert texts(load_bytes("a.md", f"x\n\n```{info}\na -> b\n```\n"), "diagram")


def test_plain_text_paragraphs(load_bytes):
    document = load_bytes("03-my_lesson.txt", "One.\nStill one.\n \n\n    Two.\n\n# a lone comment is no heading\n")
    assert document.title == "My lesson"
    assert texts(document, "text") == ["One.\nStill one.", "Two.", "# a lone comment is no heading"]


@pytest.mark.parametrize(
    "text", ["# A\n\nx\n\n## B\n\ny", "Title\n=====\n\nx", "a | b\n--|--\n\n|---|---|\n|1|2|", "x\n```py\ny\n```\n"]
)
def test_text_that_looks_like_markdown(text, load_bytes):
    assert any(block.kind != "text" for block in load_bytes("a.txt", text).blocks)


@pytest.mark.parametrize(
    ("stem", "title"),
    [
        ("09-clustering", "Clustering"),
        ("week_2-SVM", "week 2 SVM"),
        ("2024", "2024"),
        ("3d-graphics", "3d graphics"),
        ("_", "Untitled"),
    ],
)
def test_pretty(stem, title):
    assert pretty(stem) == title


# --- HTML -------------------------------------------------------------------------------------------------------------


def test_html_structure(load_bytes):
    document = load_bytes("lesson.html", files.HTML)
    assert document.title == "Gradient descent"
    assert texts(document, "text")[0] == "It follows the negative gradient of the loss.\nSecond line."
    assert "- Too large: it diverges.\n- Too small: it is slow.\n1. First step\n2. Second step" in document.text
    assert texts(document, "table") == ["rate | result\n0.1 | good"]
    assert texts(document, "code") == ["for x in y:\n    w -= rate * grad"]
    assert texts(document, "diagram") == ["graph TD; A --> B"]
    assert texts(document, "text")[-1] == "Error grows with h^2, so $x^2$."
    for unseen in ("hidden words", "secret", "injected", "Home menu", "color", "comment", "¶", "Site title"):
        assert unseen not in document.text


def test_html_title_and_layout_tables(load_bytes):
    document = load_bytes(
        "a.html", "<title> My  page </title><table><tr><td><h2>Left</h2><p>words</td><td>more</td></tr></table>"
    )
    assert document.title == "My page"
    assert outline(document) == [(2, "Left")]
    assert texts(document, "text") == ["words", "more"]


@pytest.mark.parametrize("declared", ["iso-8859-2", "utf-8", "punycode", "no-such-charset"])
def test_html_encoding_declared_rightly_or_wrongly(declared, load_bytes):
    text = "Źródło: książka, ćwiczenia, żółty, łąka i śnieg w górach"
    page = f'<meta charset="{declared}"><p>{text}</p>'
    assert text in load_bytes("a.html", page.encode("iso-8859-2" if declared == "iso-8859-2" else "utf-8")).text


# --- PDF --------------------------------------------------------------------------------------------------------------


def test_pdf_structure(load_bytes):
    document = load_bytes("lesson.pdf", files.pdf(files.lesson_pages(), "Optimisation basics"))
    assert document.title == "Optimisation basics"
    assert outline(document) == [(1, f"Chapter {n}: Gradient descent") for n in range(1, 5)]
    assert [block.page for block in document.blocks] == [page for page in range(1, 5) for _ in range(3)]
    assert texts(document, "text") == [f"Lesson {n} follows the negative gradient of the loss." for n in range(1, 5)]
    assert texts(document, "code") == ["def step(w):\n    return w - rate * grad"] * 4
    assert "Course 101" not in document.text and "of 4" not in document.text


def test_pdf_outline_gives_headings_where_sizes_do_not(tmp_path):
    from reportlab.pdfgen.canvas import Canvas

    path = tmp_path / "a.pdf"
    canvas = Canvas(str(path))
    canvas.drawString(70, 700, "1.2 Learning rate")
    canvas.drawString(70, 640, "Too large: it diverges.")
    canvas.bookmarkPage("a")
    canvas.addOutlineEntry("Learning rate", "a")
    canvas.save()
    document = load(path)
    assert outline(document) == [(1, "1.2 Learning rate")]
    assert document.title == "1.2 Learning rate"


@pytest.mark.parametrize(
    "title", ["untitled", "(anonymous)", "(unspecified)", "Microsoft Word - notes.docx", "C:\\x\\y", "12", "notes.tex"]
)
def test_pdf_title_that_is_none(title, load_bytes):
    assert load_bytes("my-notes.pdf", files.pdf([[("Some words.", 11, "Helvetica")]], title)).title == "My notes"


def test_pdf_hyphens_stay_where_the_word_is_written_so(load_bytes):
    page = [
        (line, 11, "Helvetica")
        for line in ("A self-attention layer.", "", "The self-", "attention works.", "", "A gra-", "dient.")
    ]
    text = load_bytes("a.pdf", files.pdf([page])).text
    assert "The self-attention works." in text and "A gradient." in text


def test_pdf_refusals(load_bytes):
    whole = files.pdf(files.lesson_pages())
    assert "password-protected" in refusal(load_bytes, "a.pdf", files.pdf(files.lesson_pages(), password="x")).problem
    assert "ocrmypdf" in refusal(load_bytes, "a.pdf", files.scanned_pdf()).remedy
    assert "not a PDF" in refusal(load_bytes, "a.pdf", "<html>Not found</html>").problem
    assert "damaged" in refusal(load_bytes, "a.pdf", b"%PDF-1.4 rubbish").problem
    for share in (0.2, 0.5, 0.9):
        assert "cut off" in refusal(load_bytes, "a.pdf", whole[: int(len(whole) * share)]).problem
    repairable = whole[: whole.rindex(b"startxref")]  # PDFium would open it and say nothing
    assert "its end is missing" in refusal(load_bytes, "a.pdf", repairable).problem


def line(text: str, top: float, **changes: float) -> Line:
    return Line(text, **{"size": 11, "left": 70, "top": top, "bottom": top, "width": 6, "code": False, **changes})


def test_furniture_goes_and_headings_stay():
    bodies = ["First words", "Exercise 1", "Exercise 1", "Exercise 2", "x = 1"]
    pages = [
        [line(f"Intro, page {n} of 5", 800), line("Same title", 780, size=20), line(body, 600), line(f"- {n + 7} -", 30)]
        for n, body in enumerate(bodies)
    ]
    assert [[kept.text for kept in page] for page in without_furniture(pages)] == [["Same title", body] for body in bodies]
    assert without_furniture(pages[:2])[0] == pages[0]


def test_pieces_split_at_gaps_items_and_columns():
    lines = [
        line("A paragraph that goes", 700),
        line("on here.", 686),
        line("After a gap.", 640),
        line("• First item", 626),
        line("goes on", 612),
        line("• Second item breaks in the", 598),
        line("middle of the column.", 700, left=300),
    ]
    assert [(piece.text, piece.is_item) for piece in pieces(lines, {}, str)] == [
        ("A paragraph that goes on here.", False),
        ("After a gap.", False),
        ("• First item goes on", True),
        ("• Second item breaks in the middle of the column.", True),
    ]


# --- Office and e-books -----------------------------------------------------------------------------------------------


def test_docx_structure(load_bytes):
    document = load_bytes("lesson.docx", files.docx())
    assert document.title == "Gradient descent"
    assert outline(document) == [(1, "Gradient descent"), (2, "Learning rate")]
    assert texts(document, "table") == ["rate | result\n0.1 | good"]
    assert texts(document, "code") == ["for x in y:\n    w -= rate * grad"]
    assert "- Too large: it diverges.\n- Too small: it is slow." in document.text
    assert "Inserted words." in document.text


def test_pptx_structure(load_bytes):
    document = load_bytes("lesson.pptx", files.pptx())
    assert document.title == "Gradient descent"
    assert [(b.kind, b.page, document.text[b.start : b.end]) for b in document.blocks] == [
        ("heading", 1, "Gradient descent"),
        ("text", 1, "It follows the negative gradient of the loss.\nToo large: it diverges."),
        ("text", 1, "Say why the sign is negative."),
        ("heading", 2, "Learning rate"),
        ("table", 2, "rate | result\n0.1 | good"),
        ("text", 2, "Grouped words"),
    ]


def test_epub_structure(load_bytes):
    document = load_bytes("lesson.epub", files.epub())
    assert document.title == "Optimisation"
    assert outline(document) == [(1, "Gradient descent"), (1, "Learning rate")]


def encryption(algorithm: str) -> dict[str, str]:
    method = f'<EncryptedData><EncryptionMethod Algorithm="{algorithm}"/></EncryptedData>'
    return {"META-INF/encryption.xml": f"<encryption>{method}</encryption>"}


def test_epub_drm_is_refused_and_scrambled_fonts_are_not(load_bytes):
    locked = files.epub(encryption("http://www.w3.org/2001/04/xmlenc#aes128-cbc"))
    assert "DRM" in refusal(load_bytes, "a.epub", locked).problem
    check(load_bytes("b.epub", files.epub(encryption("http://www.idpf.org/2008/embedding"))))


def test_epub_damage_is_named(load_bytes):
    assert "container.xml" in refusal(load_bytes, "a.epub", files.zipped({"mimetype": "x"})).problem
    assert "content.opf" in refusal(load_bytes, "a.epub", files.epub({"OEBPS/content.opf": "<package><broken"})).problem


def test_external_entities_stay_unread(tmp_path, load_bytes):
    secret = files.write(tmp_path, "secret", b"TOP SECRET")
    attack = f'<!DOCTYPE x [<!ENTITY e SYSTEM "{secret.as_uri()}">]>'
    package = f'{attack}<package><metadata><title>&e;</title></metadata><manifest><item id="a" href="text/first.xhtml" media-type="application/xhtml+xml"/></manifest><spine><itemref idref="a"/></spine></package>'  # noqa: E501
    document = load_bytes("a.epub", files.epub({"OEBPS/content.opf": package}))
    assert "SECRET" not in document.title + document.text
    body = '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>words &e;</w:t></w:r></w:p></w:body></w:document>'  # noqa: E501
    document = load_bytes("a.docx", replaced(files.docx(), tmp_path, "word/document.xml", attack + body))
    assert document.text.startswith("words") and "SECRET" not in document.text


def replaced(data: bytes, folder: Path, member: str, content: str) -> bytes:
    """Return a zip file with one member's content replaced."""
    source, target = files.write(folder, "before.zip", data), folder / "after.zip"
    with ZipFile(source) as before, ZipFile(target, "w", ZIP_DEFLATED) as after:
        for name in before.namelist():
            after.writestr(name, content if name == member else before.read(name))
    return target.read_bytes()


@pytest.mark.parametrize("suffix", [".docx", ".pptx", ".epub"])
def test_zip_refusals(suffix, tmp_path, load_bytes, monkeypatch):
    good = files.SAMPLES[suffix]()
    bomb = tmp_path / "bomb.zip"
    bomb.write_bytes(good)
    with ZipFile(bomb, "a", ZIP_DEFLATED) as archive:
        archive.writestr("media/zeros.bin", bytes(30 * 2**20))
    assert "zip bomb" in refusal(load_bytes, f"a{suffix}", bomb.read_bytes()).problem
    assert "damaged" in refusal(load_bytes, f"a{suffix}", good[: len(good) // 2]).problem
    assert "damaged" in refusal(load_bytes, f"a{suffix}", b"not a zip at all").problem
    old = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    assert "old binary" in refusal(load_bytes, f"a{suffix}", old).problem
    assert "password" in refusal(load_bytes, f"a{suffix}", old + "EncryptedPackage".encode("utf-16-le")).problem
    locked = bytearray(good)
    locked[good.rfind(b"PK\x01\x02") + 8] |= 1  # the flag of an encrypted member
    assert "password-protected" in refusal(load_bytes, f"a{suffix}", bytes(locked)).problem
    monkeypatch.setattr(archive_module, "MAX_UNPACKED", 100)
    assert "zip bomb" in refusal(load_bytes, f"a{suffix}", good).problem


def test_a_zip_bomb_is_refused_before_parsing(load_bytes, monkeypatch):
    import docx

    declared = bytearray(files.docx())
    monkeypatch.setattr(docx, "Document", lambda *_: pytest.fail("parsed"))
    start = declared.rfind(b"PK\x01\x02")
    declared[start + 24 : start + 28] = (400 * 2**20).to_bytes(4, "little")
    assert "zip bomb" in refusal(load_bytes, "a.docx", bytes(declared)).problem


def test_another_zip_under_the_wrong_name(load_bytes):
    assert "not what its ending says" in refusal(load_bytes, "a.docx", files.pptx()).problem
    refusal(load_bytes, "a.pptx", files.epub())


# --- notebooks, tables, code ------------------------------------------------------------------------------------------


def test_notebook_structure(load_bytes):
    document = load_bytes("lesson.ipynb", files.notebook())
    assert [(b.kind, b.level, b.cell, document.text[b.start : b.end]) for b in document.blocks] == [
        ("heading", 1, 1, "Gradient descent"),
        ("text", 0, 1, "It follows the negative gradient."),
        ("code", 0, 2, "w -= rate * grad\n\nOutput:\n0.25"),
        ("heading", 2, 3, "Learning rate"),
        ("text", 0, 3, "- Too large"),
        ("text", 0, 3, "- Too small"),
    ]


def test_old_notebook_format(load_bytes):
    cells = [{"cell_type": "heading", "level": 2, "source": "Old"}, {"cell_type": "code", "input": ["x = 1\n", "y = 2"]}]
    document = load_bytes("a.ipynb", json.dumps({"worksheets": [{"cells": cells}], "nbformat": 3}))
    assert outline(document) == [(2, "Old")] and texts(document, "code") == ["x = 1\ny = 2"]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
        files.notebook().decode()[:100],
        '{"nbformat": "x"}',
        "[" * 50_000,
    ],
)
def test_damaged_notebooks_are_refused(text, load_bytes):
    refusal(load_bytes, "a.ipynb", text)


def test_notebooks_that_break_the_schema_harmlessly_are_read(load_bytes):
    cells = [{"cell_type": "markdown", "source": "# A \ud83d\ude00"}, {"cell_type": "code", "source": "x = 1"}]
    document = load_bytes("a.ipynb", json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    check(document)
    assert texts(document, "code") == ["x = 1"]


def test_csv_structure(load_bytes):
    document = load_bytes("learning-rates.csv", files.CSV)
    assert document.title == "Learning rates"
    tables = texts(document, "table")
    assert [table.count("\n") + 1 for table in tables] == [20, 20, 7]
    assert tables[0].startswith("rate: 0.1; result: good 1\nrate: 0.2; result: good 2\n")
    assert tables[-1].endswith("rate: 0.9; result: bad; comment: late; column 4: extra\nrate: 0.8")


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.csv", 'name,value\n"x, ""y""","two\nlines"\n', 'name: x, "y"; value: two lines'),
        ("a.csv", "1,2\n3,4\n", "column 1: 1; column 2: 2"),
        ("a.tsv", "a b\tc;d\n1\t2\n", "a b: 1; c;d: 2"),
        ("a.csv", "only a header\n", "only a header"),
        ("a.csv", "name\nx\ny\n", "name: x"),
        ("a.csv", "name,value\nx," + "y" * 200_000 + "\n", "name: x; value: yyy"),
    ],
)
def test_csv_dialects(name, text, line, load_bytes):
    assert load_bytes(name, text).text.startswith(line)


def test_python_structure(load_bytes):
    document = load_bytes("train.py", files.PYTHON)
    assert document.title == "train.py"
    assert outline(document) == [(1, "def step(w):"), (1, "class Loss:")]
    assert texts(document, "code")[1] == '    """One step."""\n    return w - RATE * grad(w)'
    assert texts(document, "code")[0].endswith("@cached")


@pytest.mark.parametrize(
    ("name", "code", "headings"),
    [
        ("a.py", "def f():\n    print 'old'\n\nclass A: pass\n", ["def f():", "class A: pass"]),
        ("a.py", 'TEXT = """\ndef fake():\n"""\n\nasync def f(): pass\n', ["async def f(): pass"]),
        ("a.py", "x = 1\n\ny = 2\n", []),
        ("a.py", "(" * 5000, []),
        (
            "a.js",
            "export default class A {\n}\nconst f = async (x) => x;\nvar y = 3;\n",
            ["export default class A {", "const f = async (x) => x;"],
        ),
        ("a.ts", "export interface A { x: number }\n", ["export interface A { x: number }"]),
        ("a.java", "import x;\npublic final class A {\n  void f() {}\n}\n", ["public final class A {"]),
        ("a.c", "#include <x.h>\nint f(int);\nstatic int *f(int a) {\n  return g(a);\n}\n", ["static int *f(int a) {"]),
        ("a.go", "func (a *A) F() {\n}\ntype A struct {}\n", ["func (a *A) F() {", "type A struct {}"]),
        ("a.rs", "use x;\npub fn f() {}\nimpl A {\n    fn g() {}\n}\n", ["pub fn f() {}", "impl A {"]),
        ("a.rb", "class A\n  def f\n  end\nend\n", ["class A"]),
        ("a.r", "f <- function(x) x\ny <- 2\n", ["f <- function(x) x"]),
        ("a.jl", "function f(x)\nend\ng(x) = x\nh(1) == 2\n", ["function f(x)", "g(x) = x"]),
        ("a.sh", "set -e\nf() {\n  x\n}\n", ["f() {"]),
        ("a.sql", "create or replace view v as select 1;\nselect 2;\n", ["create or replace view v as select 1;"]),
        ("a.m", "function y = f(x)\ny = x;\nend\n", ["function y = f(x)"]),
    ],
)
def test_code_definitions(name, code, headings, load_bytes):
    document = load_bytes(name, code)
    check(document)
    assert [words for _, words in outline(document)] == headings
    covered = "".join(document.text[block.start : block.end] for block in document.blocks)
    assert "".join(covered.split()) == "".join(code.split())


# --- limits and hostile input -----------------------------------------------------------------------------------------


def test_unknown_ending_missing_file_and_folder(tmp_path, load_bytes):
    error = refusal(load_bytes, "a.xyz", "x")
    assert ".xyz" in error.problem and ".pdf" in error.remedy
    refusal(load_bytes, "README", "x")
    with pytest.raises(UnreadableFile, match="no file"):
        load(tmp_path / "missing.md")
    (tmp_path / "folder.md").mkdir()
    with pytest.raises(UnreadableFile, match="not a regular file"):
        load(tmp_path / "folder.md")
    with pytest.raises(UnreadableFile):
        load(Path("nul\0byte.md"))


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_empty_and_blank_files_are_refused(suffix, load_bytes):
    assert "empty" in refusal(load_bytes, f"a{suffix}", b"").problem
    refusal(load_bytes, f"b{suffix}", b" \n\t\n ")


def test_a_huge_file_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "huge.md"
    with path.open("wb") as file:
        file.truncate(2 * MAX_BYTES)  # sparse
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("read"))
    with pytest.raises(UnreadableFile, match="200 MB; the limit is 100 MB"):
        load(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.md")
    with pytest.raises(UnreadableFile, match="not a regular file"):
        load(tmp_path / "pipe.md")


def test_a_file_without_permission_is_refused(tmp_path, monkeypatch):
    def deny(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = files.write(tmp_path, "a.md", b"x")
    monkeypatch.setattr(Path, "open", deny)
    with pytest.raises(UnreadableFile, match="Permission denied"):
        load(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nested.html", "<div>" * 10_000 + "deep" + "</div>" * 10_000),
        ("unclosed.html", "<p>" * 5_000 + "<b>" * 500 + "deep"),
        ("tables.html", "<table><tr><td>" * 500 + "deep"),
        ("lists.md", "".join("  " * n + "- deep\n" for n in range(300))),
        ("quotes.md", ">" * 90 + " deep\n"),
        ("brackets.md", "[" * 50_000 + "deep"),
        ("line.md", "deep *words* " * 40_000),
        ("line.txt", "deep words " * 40_000),
        ("line.csv", "deep," * 20_000 + "\n" + "1," * 20_000),
        ("line.py", "deep = [" + "1, " * 20_000 + "]"),
        ("fence.md", "```\n" * 5_000 + "deep"),
        ("quote.csv", '"' + "deep,\n" * 10_000),
    ],
)
def test_deep_and_long_input_is_read_or_refused(name, text, load_bytes):
    document = load_bytes(name, text)
    check(document)
    assert "deep" in document.text


def test_a_parser_that_fails_is_named_by_the_file(load_bytes, monkeypatch):
    def fail(*_: object) -> None:
        raise RecursionError("too deep")

    monkeypatch.setattr(load_module, "_loader", lambda _: fail)
    assert "RecursionError: too deep" in refusal(load_bytes, "a.md", "x").problem


def survives(suffix: str, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = files.write(Path(folder), f"a{suffix}", data)
        try:
            check(load(path))
        except UnreadableFile as error:
            assert error.problem and error.remedy


HTML_PARTS = ["<p>", "<table>", "<tr>", "<td>", "</td>", "<ol>", "<li>", "</ol>", "<pre>", "</pre>", "<br>", "<h2>", "</h2>"]
HTML_PARTS += ["&#0;", "&#xd800;", "words", " ", "<!--", "<math>", "<sup>2", "<script type='math/tex'>"]
QUICK = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(st.sampled_from(sorted(SUFFIXES)), st.binary(max_size=400))
def test_random_bytes_never_crash(suffix, data):
    survives(suffix, data)


@QUICK
@given(st.sampled_from(sorted(SUFFIXES - {".pdf", ".docx", ".pptx", ".epub"})), st.text(max_size=300))
def test_random_text_never_crashes(suffix, text):
    survives(suffix, text.encode(errors="surrogatepass"))


@QUICK
@given(st.text(alphabet="#*-+>|`~=_[]()<!: \t\n1a.\\&é", max_size=300))
def test_random_markdown_keeps_exact_spans(text):
    survives(".md", text.encode())


@QUICK
@given(st.lists(st.sampled_from(HTML_PARTS), max_size=40))
def test_random_html_keeps_exact_spans(parts):
    survives(".html", "".join(parts).encode())


@pytest.mark.parametrize("suffix", files.SAMPLES)
def test_broken_copies_never_crash(suffix):
    whole = files.SAMPLES[suffix]()
    chance = random.Random(suffix)
    for _ in range(6):
        survives(suffix, whole[: chance.randrange(len(whole))])
        flipped = bytearray(whole)
        for _ in range(chance.randrange(1, 20)):
            flipped[chance.randrange(len(flipped))] = chance.randrange(256)
        survives(suffix, bytes(flipped))


@pytest.mark.parametrize(
    ("heading", "words"),
    [
        ("A* search", "A* search"),
        ("**Bold** and `code`", "Bold and code"),
        ("***Both***", "Both"),
        ("snake_case", "snake_case"),
    ],
)
def test_only_paired_marks_are_taken_from_a_heading(heading, words):
    assert plain(heading) == words
