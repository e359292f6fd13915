"""Which text of the course goes into a prompt."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from toy_index import toy_index

from knowledge.evidence import EvidencePlanner, Excerpt, Plan, best_section
from knowledge.index import CourseIndex
from knowledge.ingest import ingest
from knowledge.passage import Passage, RankedPassage
from knowledge.retrieval import CourseRetriever, Retrieved
from knowledge.sentences import sentence_spans
from knowledge.settings import ChunkingSettings, EvidenceSettings

FILLER = "Nothing of this matters, it only fills the page with word{n} and word{n}a and word{n}b until there is enough of it."


def plan(index: CourseIndex, question: str, **settings: float) -> Plan:
    chosen = EvidenceSettings(**settings)
    found = CourseRetriever(index=index, k=chosen.candidates).retrieve(question)
    made = EvidencePlanner(index, chosen).plan(question, found)
    assert made is not None
    return made


def course(index: CourseIndex, folder: Path, files: dict[str, str], section_tokens: int = 200) -> CourseIndex:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    ingest(index, [folder], chunking=ChunkingSettings(passage_tokens=60, section_tokens=section_tokens))
    return index


def filler(start: int, sentences: int) -> str:
    return " ".join(FILLER.format(n=n) for n in range(start, start + sentences))


def texts(excerpts: Sequence[Excerpt]) -> list[str]:
    return [excerpt.text for excerpt in excerpts]


def test_the_section_is_whole_and_in_reading_order(ingested):
    made = plan(ingested, "What does rubisco do in the Calvin cycle?")
    assert made.section == ingested.section_passages(made.section_id)
    assert [p.heading[-1] for p in made.section] == ["Photosynthesis", "Light reactions", "Calvin cycle"]
    assert made.section_tokens == sum(p.tokens for p in made.section)


def test_a_section_that_stands_clear_needs_no_extras(ingested):
    made = plan(ingested, "What does rubisco do in the Calvin cycle?")
    assert made.extras == ()
    assert made.extra_tokens == 0
    assert made.passages(cold=False) == made.section


def test_sentences_as_good_as_the_best_come_from_elsewhere_too(index, tmp_path):
    files = {
        "a.md": f"# Marsupials\n\nThe quokka smiles at tourists. {filler(0, 4)}",
        "b.md": f"# Islands\n\n{filler(10, 3)} Another quokka smiles at tourists daily. {filler(20, 3)}",
        "c.md": f"# Weather\n\n{filler(30, 5)}",
    }
    course(index, tmp_path / "course", files)
    made = plan(index, "Which quokka smiles at tourists?", clear=0.7)
    assert {Path(p.source).name for p in made.section} == {"a.md"}
    assert texts(made.extras) == ["Another quokka smiles at tourists daily."]
    (extra,) = made.extras
    assert Path(extra.passage.source).name == "b.md"
    assert [extra.passage.text[a:b] for a, b in extra.spans] == [extra.text]
    assert made.passages(cold=False) == (*made.section, extra.passage)
    assert made.extra_tokens == extra.tokens == index.embedder.count_tokens(f"Islands:\n{extra.text}\n\n")
    assert plan(index, "Which quokka smiles at tourists?", clear=1).extras == ()


def test_what_the_section_says_already_is_no_extra(index, tmp_path):
    same = "The quokka smiles at tourists."
    files = {"a.md": f"# Marsupials\n\n{same} {filler(0, 2)}", "b.md": f"# Islands\n\n{same} {filler(10, 2)}"}
    assert plan(course(index, tmp_path / "course", files), "Which quokka smiles at tourists?", clear=0.9).extras == ()


def test_nothing_is_said_twice(index, tmp_path):
    same = "The quokka smiles at tourists."
    files = {f"{n}.md": f"# Part{n}\n\n{same} {filler(10 * n, 2)}" for n in range(3)}
    pruned = plan(course(index, tmp_path / "course", files), "Which quokka smiles at tourists?").pruned
    assert " ".join(texts(pruned)).count(same) == 1


def test_the_budget_holds(index, tmp_path):
    files = {f"{n}.md": f"# Part{n}\n\nQuokka number{n} smiles at tourists. {filler(10 * n, 4)}" for n in range(12)}
    quokkas = course(index, tmp_path / "course", files)
    for most in (0, 15, 40, 200):
        made = plan(quokkas, "Which quokka smiles at tourists?", extra_tokens=most, clear=0)
        assert made.extra_tokens <= most
        assert bool(made.extras) == (most > 0)
    pruned = plan(quokkas, "Which quokka smiles at tourists?", pruned_tokens=60)
    assert 30 < pruned.pruned_tokens <= 60
    assert all("smiles" in text for text in texts(pruned.pruned))


def test_the_budget_is_in_the_tokens_of_whoever_counts(index, tmp_path):
    files = {f"{n}.md": f"# Part{n}\n\nQuokka number{n} smiles at tourists. {filler(10 * n, 2)}" for n in range(6)}
    quokkas = course(index, tmp_path / "course", files)
    question = "Which quokka smiles at tourists?"
    found = CourseRetriever(index=quokkas, k=20).retrieve(question)
    made = EvidencePlanner(quokkas, EvidenceSettings(extra_tokens=100, clear=0), len).plan(question, found)
    assert 0 < made.extra_tokens == sum(len(f"{e.passage.title}:\n{e.text}\n\n") for e in made.extras) <= 100


def test_cold_evidence_takes_the_best_sentences_of_any_section(index, tmp_path):
    files = {
        "a.md": f"# Marsupials\n\nThe quokka smiles at tourists. {filler(0, 12)}",
        "b.md": f"# Islands\n\n{filler(20, 3)} Another quokka smiles at tourists daily. {filler(30, 3)}",
    }
    made = plan(course(index, tmp_path / "course", files), "Which quokka smiles at tourists?", pruned_tokens=60)
    assert texts(made.pruned) == ["The quokka smiles at tourists.", "Another quokka smiles at tourists daily."]
    assert made.passages(cold=True) == tuple(excerpt.passage for excerpt in made.pruned)
    assert made.pruned_tokens < made.section_tokens / 2


def test_sentences_stand_in_reading_order_with_a_mark_where_some_are_missing(index, tmp_path):
    text = "A quokka is shy. The weather was fine on that day. The quokka of the island smiles. Every quokka sleeps."
    files = {"a.md": f"# Marsupials\n\n{text}", "b.md": f"# Weather\n\n{filler(0, 6)}"}
    (excerpt,) = plan(course(index, tmp_path / "course", files), "quokka", pruned_tokens=60).pruned
    assert excerpt.text == "A quokka is shy. … The quokka of the island smiles. Every quokka sleeps."
    assert len(excerpt.spans) == 2


def test_a_table_is_taken_whole(ingested):
    made = plan(ingested, "posterior belief after the evidence")
    (table,) = [e for e in made.pruned if "|" in e.text]
    assert table.text == table.passage.text


def test_tiny_changes_of_scores_do_not_change_the_order(index, tmp_path):
    files = {f"{n}.md": f"# Part{n}\n\nQuokka number{n} smiles at tourists. {filler(10 * n, 2)}" for n in range(6)}
    quokkas = course(index, tmp_path / "course", files)
    question = "Which quokka smiles at tourists?"
    found = CourseRetriever(index=quokkas, k=20).retrieve(question)
    planner = EvidencePlanner(quokkas)
    nudged = tuple(replace(item, score=item.score + 1e-9 * n) for n, item in enumerate(found.passages))
    assert planner.plan(question, found) == planner.plan(question, replace(found, passages=nudged))
    order = [item.passage.id for item in found.passages]
    for excerpts in (planner.plan(question, found).extras, planner.plan(question, found).pruned):
        assert [e.passage.id for e in excerpts] == sorted((e.passage.id for e in excerpts), key=order.index)


def test_the_best_passage_chooses_the_section_unless_it_is_as_good_as_alone():
    def ranked(section: str, score: float) -> RankedPassage:
        passage = Passage(f"{section}{score}", "d", section, "s", "t", (), None, None, 0, 1, "x", 1)
        return RankedPassage(passage, score, 0.0)

    assert best_section([ranked("a", 1.0), ranked("b", 0.8), ranked("b", 0.8)]) == "a"
    assert best_section([ranked("a", 1.0), ranked("b", 0.95), ranked("b", 0.9)]) == "b"
    assert best_section([ranked("a", 1.0), *(ranked("b", 0.8 - n / 100) for n in range(9))]) == "a"  # nine do not outvote it


def test_nothing_found_gives_no_plan(index, ingested):
    planner = EvidencePlanner(index)
    assert planner.plan("?", Retrieved((), 0.0, False)) is None
    found = CourseRetriever(index=ingested).retrieve("rubisco")
    for info in ingested.sources():
        ingested.remove(info.source)
    assert EvidencePlanner(ingested).plan("rubisco", found) is None


WORDS = st.sampled_from(["rubisco", "prior", "ellipse", "oxygen", "belief", "planets", "and", "the", "quokka", "3"])


@hypothesis_settings(deadline=None, max_examples=60)
@given(st.lists(WORDS, max_size=8).map(" ".join), st.integers(0, 300), st.integers(50, 300))
def test_any_question_gets_whole_sentences_within_the_budget(question, extra, pruned):
    index = toy_index()
    settings = EvidenceSettings(extra_tokens=extra, pruned_tokens=pruned, clear=0.3)
    made = EvidencePlanner(index, settings).plan(question, CourseRetriever(index=index, k=20).retrieve(question))
    assert made.extra_tokens <= extra
    assert made.pruned_tokens <= pruned
    assert {e.passage.section_id for e in made.extras}.isdisjoint({made.section_id})
    for excerpt in (*made.extras, *made.pruned):
        spans = sentence_spans(excerpt.passage.text)
        assert excerpt.spans
        for start, end in excerpt.spans:
            assert start in {a for a, _ in spans}
            assert end in {b for _, b in spans}
