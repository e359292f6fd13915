"""Questions to ranked passages, or to none."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge.index import CourseIndex
from knowledge.ingest import ingest
from knowledge.passage import RankedPassage
from knowledge.retrieval import CourseRetriever, Retrieved, fuse, reciprocal_ranks, relevance, signals
from knowledge.settings import RetrievalSettings

COVERED = "What does rubisco do in the Calvin cycle?"
UNCOVERED = "Who won the world cup?"


def retriever(index: CourseIndex, k: int = 5, **settings: float) -> CourseRetriever:
    return CourseRetriever(index=index, k=k, settings=RetrievalSettings(**settings))


def write(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def assert_similarities_are_exact(index: CourseIndex, question: str, found: Retrieved) -> None:
    vector = index.embedder.embed([question])[0]
    expected = index.embedder.embed([item.passage.searchable for item in found.passages]) @ vector
    assert [item.similarity for item in found.passages] == pytest.approx(expected.tolist(), abs=1e-4)


def test_fusion_by_hand():
    fused = fuse([[("a", 0.8), ("b", 0.4), ("c", 0.2)], [("c", 10.0), ("a", 6.0)]])
    assert fused == pytest.approx({"a": (1 + 0.6) / 2, "c": (0.25 + 1) / 2, "b": 0.5 / 2})
    assert list(fused) == ["a", "c", "b"]
    assert fuse([]) == fuse([[], []]) == {}


def test_fusion_does_not_stumble_over_searches_that_find_nothing_good():
    assert fuse([[("a", -0.1), ("b", -0.2)], []]) == {"a": 0, "b": 0}
    assert list(fuse([[("a", -0.1), ("b", -0.2)], [("b", 3.0)]])) == ["b", "a"]
    assert fuse([[("a", 0.5), ("b", -0.2)], []]) == {"a": 0.5, "b": 0}


def test_reciprocal_ranks_by_hand():
    a, b, c = (("a", 9.0), ("b", 8.0), ("c", 1.0))
    ranks = reciprocal_ranks([[a, b, c], [c, a], []], k=60)
    assert ranks == pytest.approx({"a": 1 / 61 + 1 / 62, "c": 1 / 63 + 1 / 61, "b": 1 / 62})
    assert list(ranks) == ["a", "c", "b"]
    assert list(reciprocal_ranks([[a, b, c], [c]], k=1)) == ["c", "a", "b"]
    assert reciprocal_ranks([]) == reciprocal_ranks([[], []]) == {}


@pytest.mark.parametrize(
    ("question", "file", "heading"),
    [
        (COVERED, "plants.md", "Calvin cycle"),
        ("What is the base rate fallacy?", "bayes.md", "Base rates"),
        ("What does Kepler's third law say?", "orbits.md", "Periods"),
    ],
)
def test_the_right_passage_comes_first(ingested, question, file, heading):
    found = retriever(ingested).retrieve(question)
    best = found.passages[0]
    assert (Path(best.passage.source).name, best.passage.heading[-1]) == (file, heading)
    assert found.covered
    assert found.relevance > 0.5
    assert [item.score for item in found.passages] == sorted((item.score for item in found.passages), reverse=True)
    assert_similarities_are_exact(ingested, question, found)


def test_what_the_course_does_not_cover_gives_no_documents_but_the_nearest_passages(ingested):
    course = retriever(ingested)
    found = course.retrieve(UNCOVERED)
    assert found.passages
    assert not found.covered
    assert found.relevance < 0.5
    assert course.invoke(UNCOVERED) == []


def test_the_threshold_decides(ingested):
    chance = retriever(ingested).retrieve(COVERED).relevance
    assert retriever(ingested, threshold=chance - 0.01).invoke(COVERED)
    assert not retriever(ingested, threshold=chance + 0.01).invoke(COVERED)
    assert retriever(ingested, threshold=0).invoke(UNCOVERED)


def test_langchain_documents_carry_the_passage(ingested):
    course = retriever(ingested)
    documents = course.invoke(COVERED)
    found = course.retrieve(COVERED)
    assert [d.page_content for d in documents] == [item.passage.text for item in found.passages]
    assert documents[0].id == found.passages[0].passage.id
    assert documents[0].metadata == {
        "passage": found.passages[0].passage,
        "score": found.passages[0].score,
        "similarity": found.passages[0].similarity,
    }
    assert [d.id for d in asyncio.run(course.ainvoke(COVERED))] == [d.id for d in documents]


def test_k_is_the_most_that_comes_back(ingested):
    assert len(retriever(ingested, k=2).retrieve(COVERED).passages) == 2
    assert len(retriever(ingested, k=2).retrieve(COVERED, k=3).passages) == 3
    everything = retriever(ingested, k=50).retrieve(COVERED).passages
    assert {item.passage.id for item in everything} == set(ingested.catalogue.passage_ids())


@pytest.mark.parametrize("question", [COVERED, UNCOVERED])
def test_relevance_is_judged_on_the_passages_that_its_weights_were_fitted_on(ingested, question):
    """The five best by reciprocal rank, whatever order the passages come in."""
    vector = ingested.embedder.embed([question])[0]
    dense, lexical = ingested.dense(vector, 50), ingested.lexical()
    judged = list(reciprocal_ranks([dense, lexical.search(question, 50)]))[:5]
    stored, passages = ingested.vectors(judged), ingested.catalogue.passages(judged)
    nearest = max(float((found.vectors @ vector).max()) for found in ingested.sentences(judged).values())
    ranked = [RankedPassage(passages[id_], 0.0, float(stored[id_] @ vector)) for id_ in judged]
    found = retriever(ingested).retrieve(question)
    assert found.signals == pytest.approx(signals(question, ranked, lexical, nearest), abs=1e-4)
    assert found.relevance == relevance(*found.signals)


def test_the_vector_of_the_question_comes_along(ingested):
    found = retriever(ingested).retrieve(COVERED)
    assert found.vector.tolist() == ingested.embedder.embed([COVERED])[0].tolist()


@pytest.mark.parametrize("question", [COVERED, UNCOVERED])
def test_relevance_does_not_depend_on_how_many_are_wanted(ingested, question):
    assert len({retriever(ingested).retrieve(question, k=k).relevance for k in (1, 2, 5, 50)}) == 1


@pytest.mark.parametrize("threshold", [0, 0.5])
def test_an_empty_course_covers_nothing_and_opens_no_chroma(index, threshold, monkeypatch):
    monkeypatch.setattr("knowledge.store.VectorStore", None)
    course = retriever(index, threshold=threshold)
    assert course.retrieve(COVERED) == Retrieved((), 0.0, False)
    assert course.invoke(COVERED) == []


def test_passages_that_only_bm25_finds_have_their_similarity(index, tmp_path):
    near = {f"near{i}.md": f"Planets planets moving planets, note number {i * 'i'}." for i in range(8)}
    far = {"far.md": "Quokka " + " ".join(f"filler{i}" for i in range(100)) + "."}
    ingest(index, [write(tmp_path / "course", near | far)])
    question = "moving planets quokka"
    found = retriever(index, candidates=5, k=20).retrieve(question)
    assert Path(found.passages[0].passage.source).name != "far.md"
    assert any(Path(item.passage.source).name == "far.md" and item.similarity > 0 for item in found.passages)
    assert_similarities_are_exact(index, question, found)


def test_the_same_text_in_many_documents_is_found_once(index, tmp_path):
    copies = {
        f"copy{i}.md": f"# Title{i}\n\nQuokkas smile at every tourist.\n\n# Own{i}\n\nSomething else {i}." for i in range(12)
    }
    other = {"other.md": "# Other\n\nA quokka is " + " ".join(f"filler{i}" for i in range(80)) + "."}
    ingest(index, [write(tmp_path / "course", copies | other)])
    question = "Do quokkas smile at tourists?"
    found = retriever(index, candidates=14, k=2).retrieve(question)
    assert [item.passage.text[:12] for item in found.passages] == ["Quokkas smil", "A quokka is "]
    assert_similarities_are_exact(index, question, found)


def test_signals_by_hand(ingested):
    passages = {p.heading[-1]: p for p in ingested.catalogue.all_passages()}
    ranked = [RankedPassage(passages[name], 0.1, similarity) for name, similarity in (("Calvin cycle", 0.3), ("Periods", 0.4))]
    lexical = ingested.lexical()
    rubisco, quokka = lexical.rarity("rubisco"), lexical.rarity("quokka")
    assert signals("Is rubisco a quokka?", ranked, lexical) == pytest.approx((0.4, rubisco / (rubisco + quokka)))
    assert signals("And what is it?", ranked, lexical) == (0.4, 1.0)
    assert signals("Is rubisco a quokka?", [], lexical) == (0.0, 0.0)


def test_words_count_as_found_only_in_one_and_the_same_passage(ingested):
    passages = [p for p in ingested.catalogue.all_passages() if p.text.startswith(("The Calvin cycle", "Kepler's third"))]
    ranked = sorted((RankedPassage(p, 0.1, 0.3) for p in passages), key=lambda item: item.passage.text)
    lexical = ingested.lexical()
    rubisco, square, period = (lexical.rarity(term) for term in ("rubisco", "squar", "period"))
    total = rubisco + square + period
    assert signals("rubisco square period", ranked, lexical)[1] == pytest.approx((square + period) / total)
    assert signals("rubisco square period", ranked[1:], lexical)[1] == pytest.approx(rubisco / total)


def test_words_about_the_asking_are_not_missing_from_a_course(ingested):
    ranked = [RankedPassage(p, 0.1, 0.3) for p in ingested.catalogue.all_passages() if p.heading[-1] == "Calvin cycle"]
    lexical = ingested.lexical()
    for question in ("rubisco", "Who came up with the idea of rubisco?", "What is the point of rubisco, can people explain?"):
        assert signals(question, ranked, lexical) == (0.3, 1.0)
    assert signals("quokka", ranked, lexical) == (0.3, 0.0)
    assert signals("What is the point?", ranked, lexical) == (0.3, 0.0), "only such words: then they are all there is"


def test_a_sentence_nearer_than_its_passage_counts(ingested):
    ranked = [RankedPassage(p, 0.1, 0.3) for p in ingested.catalogue.all_passages()]
    assert signals("rubisco", ranked, ingested.lexical(), nearest=0.7)[0] == 0.7
    assert signals("rubisco", ranked, ingested.lexical(), nearest=0.2)[0] == 0.3


SIGNAL = st.floats(0, 1)


@given(SIGNAL, SIGNAL, SIGNAL, SIGNAL)
def test_relevance_is_a_probability_that_grows_with_both_signals(a, b, c, d):
    low, high = relevance(min(a, b), min(c, d)), relevance(max(a, b), max(c, d))
    assert 0 <= low <= high <= 1
