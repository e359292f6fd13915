"""Documents to sections and passages."""

from pathlib import Path

import pytest
from conftest import BagOfWordsEmbedder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knowledge.chunking import chunk
from knowledge.loaders.markdown import markdown_document
from knowledge.passage import Block, Document, Passage
from knowledge.settings import ChunkingSettings

count = BagOfWordsEmbedder().count_tokens
SMALL = ChunkingSettings(passage_tokens=40, section_tokens=200)


def markdown(text: str, source: str = "notes.md") -> Document:
    return markdown_document(Path(source), text.encode(), source, text)


def passages(text: str, sizes: ChunkingSettings | None = None) -> list[Passage]:
    return chunk(markdown(text), count, sizes)[1]


def texts(text: str, sizes: ChunkingSettings | None = None) -> list[str]:
    return [passage.text for passage in passages(text, sizes)]


def sentences_of(number: int, words: int = 10) -> str:
    return " ".join(f"{' '.join(f'W{i}x{j}' for j in range(words - 1))}." for i in range(number))


def test_a_passage_is_whole_sentences_of_one_heading():
    found = passages(f"# Plants\n\n{sentences_of(6)}\n\n## Roots\n\nRoots drink. They hold on.", SMALL)
    assert [p.heading for p in found] == [("Plants",), ("Plants",), ("Plants", "Roots")]
    assert all(p.text.endswith(".") and p.text.startswith(("W", "Roots")) for p in found)
    assert found[-1].text == "Roots drink. They hold on."


def test_passages_are_filled_evenly():
    sizes = [p.tokens for p in passages(sentences_of(19))]  # 190 tokens, 180 fit: no scrap of one sentence
    assert sizes == [100, 90]


def test_paragraphs_under_a_heading_share_a_passage():
    assert texts("# A\n\nOne is here.\n\n- two\n- three\n\nFour.") == ["One is here.\n\n- two\n- three\n\nFour."]


@pytest.mark.parametrize(
    "between",
    [
        "```mermaid\ngraph TD; A --> B\n```",
        "```dot\ndigraph { a -> b }\n```",
        "## Same",
        "---",
    ],
    ids=["mermaid", "dot", "heading", "rule"],
)
def test_what_is_no_passage_is_not_swallowed_between_two_paragraphs(between):
    assert texts(f"# A\n\n## Same\n\nBefore it.\n\n{between}\n\nAfter it.") == ["Before it.", "After it."]


def test_a_comment_leaves_no_gap():
    assert texts("# A\n\nBefore it.\n\n<!-- a comment, as long as it likes -->\n\nAfter it.") == ["Before it.\n\nAfter it."]


def test_prose_tables_and_code_are_never_mixed():
    table, code = "| a | b |\n|---|---|\n| 1 | 2 |", "```python\nx = 1\n\ny = 2\n```"
    assert texts(f"Prose one.\n\n{table}\n\n{code}\n\n{code}\n\nProse two.") == ["Prose one.", table, code, code, "Prose two."]


def test_headings_nest_and_close():
    found = passages("# A\n\none.\n\n### C\n\ntwo.\n\n## B\n\nthree.\n\n# D\n\nfour.")
    assert [p.heading for p in found] == [("A",), ("A", "C"), ("A", "B"), ("D",)]


@pytest.mark.parametrize(("written", "heading"), [("# C#", "C#"), ("# F# #", "F#"), ("# The `for` *loop*", "The for loop")])
def test_a_heading_keeps_its_words(written, heading):
    assert passages(f"{written}\n\nText.")[0].heading == (heading,)


def test_sections_hold_related_passages_up_to_their_size():
    text = f"# A\n\n{sentences_of(12)}\n\n## A1\n\n{sentences_of(20)}\n\n# B\n\nShort."
    sections, found = chunk(markdown(text), count, SMALL)
    assert [s.heading for s in sections] == [("A",), ("A", "A1"), ("B",)]
    assert [s.tokens for s in sections] == [160, 160, 2]  # evenly, not 200 and 120
    assert len({p.heading for p in found if p.section_id == sections[0].id}) == 2
    # the common path of what a section holds, not the path of its first passage
    assert chunk(markdown("# A\n\n## A1\n\none.\n\n## A2\n\ntwo."), count)[0][0].heading == ("A",)


def test_page_and_cell_are_those_of_the_first_block():
    text = "First page. \n\nStill the same thought.\n\nA cell.\n\nAnother cell."
    starts = [text.index(word) for word in ("First", "Still", "A cell", "Another")]
    blocks = tuple(
        Block("text", start, text.index(".", start) + 1, page=page, cell=cell)
        for start, page, cell in zip(starts, (3, 4, None, None), (None, None, 1, 2), strict=True)
    )
    found = chunk(Document("s", "t", text, blocks, "hash"), count)[1]
    assert [(p.text, p.page, p.cell) for p in found] == [
        ("First page. \n\nStill the same thought.", 3, None),
        ("A cell.", None, 1),
        ("Another cell.", None, 2),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "x" * 50_000,
        "ไม่มีช่องว่าง" * 2_000,
        "한국어" * 3_000,
        "word " * 20_000,
        "https://" + "a/" * 5_000 + " then words " * 300,
        "| a | b |\n|---|---|\n" + "| cell one | cell two |\n" * 3_000,
        "| a |\n|---|\n| " + "long cell " * 2_000 + " |\n",
        "```python\n" + "    value = function(argument)\n\n" * 3_000 + "```",
        "```\n" + " " * 500 + "x" * 5_000 + "\n```",
        "Sentence with some words. " * 5_000,
    ],
    ids=["word", "thai", "hangul", "words", "link", "rows", "cell", "code", "indented", "sentences"],
)
def test_nothing_is_too_big(text):
    check(markdown(text), SMALL)


def test_a_tokenizer_may_count_more_tokens_than_characters():
    found = chunk(markdown("한국어를 배웁니다 " * 200), lambda text: 3 * len(text), SMALL)[1]
    assert max(3 * len(p.text.replace(" ", "")) for p in found) <= 40


def test_long_pieces_are_cut_at_spaces():
    link = "https://example.org/" + "a" * 60
    (passage, *_) = passages(link + " and" * 60, SMALL)
    assert passage.text.split() == [link, *["and"] * (len(passage.text.split()) - 1)]


def test_same_input_same_ids_and_any_change_new_ones():
    def ids(document: Document) -> set[str]:
        sections, found = chunk(document, count)
        return {item.id for item in [*sections, *found]}

    text = "# A\n\nOne sentence.\n\n# B\n\nAnother one."
    first = ids(markdown(text))
    assert len(first) == 4
    assert ids(markdown(text)) == first
    assert not ids(markdown(text + "\n")) & first
    assert not ids(markdown(text, "elsewhere.md")) & first


def test_a_document_of_headings_and_diagrams_has_no_passages():
    assert chunk(markdown("# A\n\n```mermaid\ngraph TD; A --> B\n```"), count) == ([], [])


def check(document: Document, sizes: ChunkingSettings) -> None:
    """What holds for every document."""
    sections, found = chunk(document, count, sizes)
    by_id = {section.id: section for section in sections}
    assert len(by_id) == len(sections)
    assert len({p.id for p in found}) == len(found)
    assert [p.section_id for p in found] == sorted((p.section_id for p in found), key=list(by_id).index)
    for section in sections:
        members = [p for p in found if p.section_id == section.id]
        assert (section.start, section.end) == (members[0].start, members[-1].end)
        assert section.tokens == sum(p.tokens for p in members) <= max(sizes.section_tokens, members[0].tokens)
        assert all(p.heading[: len(section.heading)] == section.heading for p in members)
    for a, b in zip(found, found[1:], strict=False):
        assert a.end <= b.start
    for p in found:
        assert p.text == document.text[p.start : p.end] == p.text.rstrip() != ""
        assert count(p.text) <= p.tokens + 1 <= sizes.passage_tokens + 1  # a word cut in two may count for three once joined
        assert len("".join(p.text.split())) <= 11 * sizes.passage_tokens
    unseen = [b for b in document.blocks if b.kind in ("heading", "diagram")]
    assert not [(b, p) for b in unseen for p in found if b.start < p.end and p.start < b.end]
    kept = "".join("".join(p.text.split()) for p in found)
    blocks = (document.text[b.start : b.end] for b in document.blocks if b not in unseen)
    assert kept == "".join("".join(block.split()) for block in blocks)


WORDS = st.sampled_from(["cells", "grow.", "Light", "e.g.", "3.14", "**bold**", "`a.b`", "x" * 700, "end!", "[l](u)", "J."])
PROSE = st.lists(WORDS, min_size=1, max_size=80).map(" ".join)
BLOCK = st.one_of(
    PROSE,
    st.tuples(st.sampled_from(["# ", "## ", "### "]), st.sampled_from(["Plants", "C#", "*Roots*", "Stems"])).map("".join),
    st.lists(PROSE, min_size=1, max_size=5).map(lambda items: "\n".join(f"- {item}" for item in items)),
    st.integers(1, 60).map(lambda n: "| a | b |\n|---|---|\n" + "\n".join(f"| row {i} | some words |" for i in range(n))),
    st.integers(0, 60).map(lambda n: "```python\n" + "\n".join(f"    f({i})" for i in range(n)) + "\n```"),
    st.integers(1, 20).map(lambda n: "```mermaid\n" + "A --> B\n" * n + "```"),
    st.sampled_from(
        ["<!-- hidden -->", "---", "> quoted words", "    indented()", "[l]: https://example.org", "<div>html</div>"]
    ),
    st.text(max_size=200),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(BLOCK, max_size=12).map("\n\n".join), st.sampled_from([SMALL, ChunkingSettings()]))
def test_any_markdown_keeps_what_holds_for_every_document(text, sizes):
    check(markdown("first\n\n" + text.replace("\r", "")), sizes)
