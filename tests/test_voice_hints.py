import pytest

from assistant.voice import hints
from assistant.voice.hints import prompt, terms
from knowledge.ingest import ingest
from knowledge.passage import Block, Document

RARE = {"backpropagation": 4, "eigenvalue": 4, "softmax": 2}


def pieces(word):
    """As an embedder cuts words: common ones are whole."""
    return RARE.get(word, 1)


def document(*blocks):
    """Blocks of kind and text, one after the other."""
    text, found = "", []
    for kind, part in blocks:
        found.append(Block(kind, len(text), len(text) + len(part)))
        text += part + "\n\n"
    return Document("a.md", "A", text, tuple(found), "hash")


def ranked(text, kind="text"):
    return terms([document((kind, text))], pieces)


@pytest.mark.parametrize(
    "term", ["LoRA", "BM25", "SVD", "word2vec", "t-SNE", "PyTorch", "GPT-2", "L2", "ReLU", "backpropagation"]
)
def test_what_is_spelt_as_nobody_would_guess_is_a_term(term):
    assert ranked(f"We train {term} here. They like {term}, and {term} works.") == [term]


@pytest.mark.parametrize("word", ["training", "Training", "between", "well-known", "x1", "A", "softmax", "ATTENTION"])
def test_what_anybody_would_write_so_is_none(word):
    assert ranked(f"{word} and {word} or {word}") == []


def test_what_is_named_once_or_twice_is_left_out():
    assert ranked("LoRA is one thing, LoRA another.") == []
    assert ranked("LoRA", kind="heading") == ["LoRA"]


def test_code_formulas_tables_and_addresses_are_not_spoken():
    noise = "`W_qKV W_qKV` $aXb aXb$ https://host.org/QKpath [RoPE](https://RoPE.org) path/toFile "
    assert ranked(noise * 3) == []
    assert ranked("fromList fromList fromList", kind="code") == ranked("GB GB GB", kind="table") == []


def test_the_most_used_come_first_and_headings_count_more():
    text = ("text", "LoRA LoRA LoRA. BERT BERT BERT BERT. eigenvalue eigenvalue eigenvalue eigenvalue")
    assert terms([document(text)], pieces) == ["BERT", "LoRA", "eigenvalue"]
    assert terms([document(("heading", "LoRA"), text)], pieces)[0] == "LoRA"


def test_plurals_and_cases_are_one_term_in_its_commonest_spelling():
    assert ranked("LLMs LLM LLM. LLM") == ["LLM"]
    assert ranked("RAG Rag RAG rag RAG") == ["RAG"]
    assert ranked("eigenvalue eigenvalues eigenvalues") == ["eigenvalue"]


def test_the_prompt_stays_within_its_budget_and_ends_with_a_whole_term():
    joined = prompt(f"Term{number}" for number in range(1000))
    assert len(joined) <= hints._LONGEST
    assert joined.startswith("Term0, Term1")
    assert joined.split(", ")[-1] == f"Term{joined.count(',')}"


def test_hints_follow_the_course(index, tmp_path, monkeypatch):
    assert hints.hints(index) == ""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "a.md").write_text("# LoRA\n\nLoRA freezes the weights. QLoRA stores them in 4 bit. QLoRA and QLoRA.\n")
    ingest(index, [folder])
    assert hints.hints(index) == "LoRA, QLoRA"
    monkeypatch.setattr(hints, "terms", None)
    assert hints.hints(index) == "LoRA, QLoRA"  # found once for each version of the course
