"""finetune/embedder: safe negatives, a gate that refuses, and an index that is replaced whole or not at all."""

import json
import re
import shutil

import numpy as np
import pytest
import typer
from conftest import COURSE, BagOfWordsEmbedder
from typer.testing import CliRunner

from assistant.embedders import POINTER, Tuned, embedder_folder, guards_embedder, tuned_embedder
from assistant.settings import Settings
from course_guard.settings import GroundingSettings
from finetune import commands_embedder
from finetune.embedder import promote as promotion
from finetune.embedder.figures import gain, paired
from finetune.embedder.gate import Verdict, judge
from finetune.embedder.general import check_general, read_cranfield, read_squad
from finetune.embedder.pairs import Triplet, mine
from finetune.embedder.questions import Asked, held_lessons, made_questions, read_questions, starter_cases
from finetune.embedder.run import TuningRun, Wanted
from finetune.embedder.staging import stage
from finetune.embedder.train import TuneConfig, tune
from knowledge import calibrated
from knowledge.calibration import calibrate
from knowledge.errors import CourseError, IndexMismatch, MissingModel
from knowledge.index import CourseIndex
from knowledge.ingest import STARTER_COURSE, ingest
from knowledge.lexical import terms
from knowledge.passage import RankedPassage
from knowledge.retrieval import RELEVANCE_WEIGHTS, CourseRetriever, Retrieved
from knowledge.settings import RetrievalSettings


class Named(BagOfWordsEmbedder):
    """Bags of words whose identity is that of a folder; a `turn` moves every word to another dimension."""

    def __init__(self, folder):
        self.folder = folder
        self.identity = f"{folder.name}:1:2"

    def embed(self, texts):
        return np.roll(super().embed(texts), len(self.folder.name), axis=1)


class Collapsed(BagOfWordsEmbedder):
    """Every text gets nearly the same vector."""

    identity = "collapsed:1:2"

    def embed(self, texts):
        vectors = super().embed(texts)
        vectors[:, 0] += 20
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def settings(tmp_path, monkeypatch):
    base = tmp_path / "models" / "base"
    base.mkdir(parents=True)
    monkeypatch.setattr("assistant.embedders.model_path", lambda name: base)
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def course(settings, tmp_path, course_dir, empty_chroma):
    """The toy course, made with the embedder of the settings."""
    shutil.copytree(empty_chroma, settings.index_dir / "chroma")
    index = CourseIndex(settings.index_dir, Named(tmp_path / "models" / "base"))
    ingest(index, [course_dir])
    return index


@pytest.fixture
def tuned(settings):
    folder = settings.finetune_dir / "embedders" / "first"
    folder.mkdir(parents=True)
    return Tuned("first", settings.embedder, str(folder))


@pytest.fixture
def staged(settings, course, tuned, tmp_path, empty_chroma):
    folder = promotion.staged_folder(settings, "first")
    shutil.copytree(empty_chroma, folder / "chroma")
    stage(course, CourseIndex(folder, Named(settings.finetune_dir / "embedders" / "first")), settings.retrieval)
    return folder


# Questions


def test_definitions_and_headings_are_asked_for(course):
    made = made_questions(course.catalogue.all_passages(), 60, 0)
    texts = {asked.text: asked for asked in made}
    assert "What should I know about Calvin cycle?" in texts
    assert all(course.catalogue.passages(asked.answers) for asked in made)
    assert texts["What should I know about Calvin cycle?"].lesson.endswith("plants.md")


def test_the_same_seed_holds_out_the_same_lessons(course):
    passages = course.catalogue.all_passages()
    assert held_lessons(passages, 0.33, 5) == held_lessons(passages, 0.33, 5)
    assert len(held_lessons(passages, 0.01, 0)) == 1
    with pytest.raises(CourseError, match="documents"):
        held_lessons([p for p in passages if p.source.endswith("bayes.md")], 0.33, 0)


def test_questions_of_a_file_find_their_passage(course, tmp_path):
    rows = [
        {"question": "Who is fastest?", "evidence": "so planets are fastest\nat perihelion."},
        {"question": "What is not there?", "evidence": "No such text."},
        {"question": "Where can I park?"},
    ]
    path = tmp_path / "asked.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    known, unknown = read_questions(path, course.catalogue.all_passages())
    assert known.lesson.endswith("orbits.md") and known.answers
    assert (unknown.text, unknown.answers) == ("Where can I park?", ())
    path.write_text('{"no": 1}\n', encoding="utf-8")
    with pytest.raises(CourseError, match="line 1"):
        read_questions(path, [])
    with pytest.raises(CourseError, match="cannot be read"):
        read_questions(tmp_path / "none", [])


def test_cases_of_the_starter_course_are_not_for_another(course):
    assert starter_cases(course.catalogue.all_passages()) == []


# Negatives


def test_no_passage_that_may_answer_is_a_negative(course):
    passages = course.catalogue.all_passages()
    retriever = CourseRetriever(index=course, settings=RetrievalSettings())
    positive = next(p for p in passages if "rubisco" in p.text)
    plain = Asked("the Calvin cycle fixes carbon dioxide with rubisco in leaves?", (positive.id,), positive.source)
    (first,) = mine([plain], retriever, frozenset(), lambda *_: None).triplets
    assert first.positive == positive.searchable != first.negative
    subject = frozenset(terms(first.negative)) - frozenset(terms(positive.searchable))
    aware = Asked(plain.text, plain.answers, plain.lesson, subject)
    mined = mine([aware], retriever, frozenset(), lambda *_: None)
    assert not any(triplet.negative == first.negative for triplet in mined.triplets)
    lesson = next(p.source for p in passages if p.searchable == first.negative)
    mined = mine([plain], retriever, frozenset({lesson}), lambda *_: None)
    assert not any(p.searchable == t.negative for t in mined.triplets for p in passages if p.source == lesson)


def test_a_passage_nearly_as_similar_as_the_right_one_is_no_negative(course, monkeypatch):
    retriever = CourseRetriever(index=course, settings=RetrievalSettings())
    passages = course.catalogue.all_passages()[:3]
    ranked = tuple(RankedPassage(p, 1.0, similarity) for p, similarity in zip(passages, (0.97, 1.0, 0.94), strict=True))
    monkeypatch.setattr(CourseRetriever, "retrieve", lambda self, text, k: Retrieved(ranked, 1.0, True))
    (triplet,) = mine([Asked("x", (passages[1].id,), "y")], retriever, frozenset(), lambda *_: None).triplets
    assert triplet.negative == passages[2].searchable


def test_a_question_whose_passage_is_not_found_is_dropped(course):
    retriever = CourseRetriever(index=course, settings=RetrievalSettings())
    mined = mine([Asked("rubisco", ("no such id",), "x")], retriever, frozenset(), lambda *_: None)
    assert (mined.triplets, mined.not_found) == ((), 1)


# Figures


def test_gain_counts_ranks_and_no_more_than_there_is():
    assert gain(["a", "b"], ["a"]) == 1
    assert gain(["b", "a"], ["a"]) == pytest.approx(1 / np.log2(3))
    assert gain(["x"] * 10 + ["a"], ["a"]) == 0
    assert gain(["a", "b"], ["b", "a"]) == pytest.approx(1)


def test_a_gain_must_be_beyond_chance_and_a_loss_within_its_margin():
    groups = [str(n) for n in range(40)]
    better = paired("x", [0.0] * 40, [0.0] * 10 + [1.0] * 30, groups, 0.0)
    chance = paired("x", [0.0] * 40, [1.0, -1.0] * 20, groups, 0.0)
    same = paired("x", [1.0] * 40, [1.0] * 40, groups, 0.0)
    small = paired("x", [1.0] * 40, [0.99] * 40, groups, 0.02)
    large = paired("x", [1.0] * 40, [0.9] * 40, groups, 0.02)
    assert [c.passed for c in (better, chance, same, small, large)] == [True, False, False, True, False]


def test_questions_of_one_lesson_count_as_one():
    before, after = [0.0] * 40, [1.0] * 20 + [-0.5] * 20
    assert paired("x", before, after, [str(n) for n in range(40)], 0.0).passed
    assert not paired("x", before, after, ["a"] * 20 + ["b"] * 20, 0.0).passed


def test_a_verdict_without_criteria_is_no_pass():
    assert not Verdict(()).passed


# General search


def test_collapse_is_seen_without_public_sets():
    same = check_general(BagOfWordsEmbedder(), BagOfWordsEmbedder(), None, 0, lambda _: None)
    worse = check_general(BagOfWordsEmbedder(), Collapsed(), None, 0, lambda _: None)
    assert same and all(c.passed for c in same)
    assert [c.passed for c in worse if "distance" in c.name] == [False]


def test_public_sets_are_read(tmp_path):
    (tmp_path / "cran.all.1400.xml").write_text(
        "<doc><docno>1</docno><text>wing flow</text></doc><doc><docno>2</docno><text></text></doc>", encoding="utf-8"
    )
    (tmp_path / "cran.qry.xml").write_text(
        "<top><num>4</num><title>what of wings</title></top><top><num>9</num><title>what of nothing</title></top>",
        encoding="utf-8",
    )
    (tmp_path / "cranqrel.trec.txt").write_text("1 0 1 1\n1 0 2 1\n2 0 1 0\n", encoding="utf-8")
    collection = read_cranfield(tmp_path)
    assert (collection.texts, collection.questions) == ({"1": "wing flow"}, (("what of wings", ("1",)),))
    paragraphs = [
        {"context": "A.", "qas": [{"question": "a? ", "is_impossible": False}, {"question": "b?", "is_impossible": True}]},
        {"context": "B.", "qas": [{"question": "c?", "is_impossible": True}]},
    ]
    (tmp_path / "dev-v2.0.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}), encoding="utf-8")
    assert read_squad(tmp_path, 0).questions == (("a?", ("0",)),)
    with pytest.raises(CourseError, match="none of the folders"):
        check_general(BagOfWordsEmbedder(), BagOfWordsEmbedder(), tmp_path, 0, lambda _: None)


# The gate


def test_an_embedder_that_is_no_better_is_refused(course):
    retriever = CourseRetriever(index=course, settings=RetrievalSettings())
    made = made_questions(course.catalogue.all_passages(), 40, 0)
    found = judge(retriever, retriever, [], made, frozenset(COURSE), GroundingSettings(), None, 0, lambda _: None)
    assert not found.passed
    assert found.failed == ["held-out lessons, made questions, nDCG@10"]
    assert {"check of answers: supported sentences pass", "check of answers: others are left out"} <= {
        c.name for c in found.criteria
    }


# Staging


def test_the_staged_index_has_the_same_passages_and_other_vectors(course, staged, settings):
    other = CourseIndex(staged, Named(settings.finetune_dir / "embedders" / "first"))
    ids = course.catalogue.passage_ids()
    assert other.catalogue.passage_ids() == ids
    assert other.catalogue.generation > course.catalogue.generation
    assert not np.allclose(other.vectors(ids[:1])[ids[0]], course.vectors(ids[:1])[ids[0]])
    assert [s.id for s in other.sections()] == [s.id for s in course.sections()]
    assert other.document(course.sources()[0].document_id) == course.document(course.sources()[0].document_id)


def test_staging_again_catches_up(course, staged, settings, course_dir):
    (course_dir / "quokkas.md").write_text("# Quokkas\n\nQuokkas live on an island.", encoding="utf-8")
    (course_dir / "bayes.md").write_text("# Bayes\n\nQuite another text about priors.", encoding="utf-8")
    ingest(course, [course_dir])
    course.remove(next(info.source for info in course.sources() if info.source.endswith("plants.md")))
    other = CourseIndex(staged, Named(settings.finetune_dir / "embedders" / "first"))
    stage(course, other, settings.retrieval)
    assert other.catalogue.hashes() == course.catalogue.hashes()
    assert sorted(other.catalogue.passage_ids()) == sorted(course.catalogue.passage_ids())


def test_the_threshold_is_calibrated_with_the_target_it_had(tmp_path, empty_chroma):
    for name in ("used", "new"):
        shutil.copytree(empty_chroma, tmp_path / name / "chroma")
    used, new = (CourseIndex(tmp_path / name, Named(tmp_path / name)) for name in ("used", "new"))
    ingest(used, sorted(STARTER_COURSE.glob("0[1-3]*.md")))
    calibrated.write(used.folder, calibrate(used, RetrievalSettings(), 40, 0.11))
    stage(used, new, RetrievalSettings())
    found = calibrated.read(new.folder, new.embedder.identity, RELEVANCE_WEIGHTS)
    assert found and (found.target, found.embedder) == (0.11, "new:1:2")


# Promotion


def open_(settings):
    return CourseIndex(settings.index_dir, Named(embedder_folder(settings)))


def test_promotion_and_the_way_back(course, staged, settings, tuned, course_dir):
    promotion.promote(settings, staged, tuned, lambda: None, Named)
    assert tuned_embedder(settings) == tuned
    assert open_(settings).catalogue.hashes() == course.catalogue.hashes()
    (course_dir / "quokkas.md").write_text("# Quokkas\n\nQuokkas live on an island.", encoding="utf-8")
    ingest(open_(settings), [course_dir])
    assert promotion.rollback(settings, Named) == "first"
    back = open_(settings)
    assert back.embedder.identity == "base:1:2" and len(back.sources()) == 4
    assert not (settings.index_dir / POINTER).exists()
    with pytest.raises(CourseError, match="No tuned embedder"):
        promotion.rollback(settings, Named)
    promotion.promote(settings, staged, tuned, lambda: None, Named)  # and once more
    assert len(open_(settings).sources()) == 4


def test_a_running_assistant_notices(course, staged, settings, tuned):
    assert course.lexical()
    promotion.promote(settings, staged, tuned, lambda: None, Named)
    with pytest.raises(IndexMismatch):
        course.lexical()


def test_what_came_while_it_trained_is_not_lost(course, staged, settings, tuned, course_dir):
    (course_dir / "quokkas.md").write_text("# Quokkas\n\nQuokkas live on an island.", encoding="utf-8")
    ingest(course, [course_dir])
    promotion.promote(settings, staged, tuned, lambda: None, Named)
    assert len(open_(settings).sources()) == 4


@pytest.mark.parametrize("fault", [CourseError("It does not start."), KeyboardInterrupt()])
def test_an_assistant_that_would_not_start_undoes_it(course, staged, settings, tuned, fault):
    starts = iter((None, fault))

    def start():
        if (found := next(starts)) is not None:
            raise found

    with pytest.raises(type(fault)):
        promotion.promote(settings, staged, tuned, start, Named)
    assert open_(settings).embedder.identity == "base:1:2"
    assert staged.is_dir() and tuned_embedder(settings) is None


def test_a_kill_between_the_renames_is_mended(course, staged, settings):
    kept = settings.finetune_dir / "index.before"
    settings.index_dir.rename(kept)
    CourseIndex(settings.index_dir, Named(embedder_folder(settings)))  # somebody looks for a course meanwhile
    promotion.mend(settings)
    assert len(open_(settings).sources()) == 3 and not kept.exists()
    promotion.mend(settings)
    assert len(open_(settings).sources()) == 3


def test_the_pointer_counts_for_its_base_only(course, staged, settings, tuned):
    promotion.promote(settings, staged, tuned, lambda: None, Named)
    assert embedder_folder(settings).name == "first"
    other = settings.model_copy(update={"embedder": "another"})
    assert embedder_folder(other).name == "base"
    shutil.rmtree(tuned.folder)
    with pytest.raises(MissingModel, match="first"):
        embedder_folder(settings)
    (settings.index_dir / POINTER).write_text("{", encoding="utf-8")
    with pytest.raises(CourseError, match=re.escape(POINTER)):
        tuned_embedder(settings)


def test_guards_keep_the_embedder_that_they_know(course, staged, settings, tuned):
    (embedder_folder(settings) / "model.safetensors").touch()
    assert guards_embedder(settings, course.embedder) is course.embedder
    promotion.promote(settings, staged, tuned, lambda: None, Named)
    assert guards_embedder(settings, open_(settings).embedder).identity.startswith("base:")


# Training, with a real model of two layers


@pytest.fixture(scope="session")
def tiny_embedder(tmp_path_factory):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    tokeniser = BertTokenizerFast(vocab_file=str(folder / "vocab.txt"))
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(tokeniser), **sizes)).save_pretrained(folder / "bert")
    tokeniser.save_pretrained(folder / "bert")
    bert = Transformer(str(folder / "bert"), max_seq_length=128)
    SentenceTransformer(modules=[bert, Pooling(32)], device="cpu").save_pretrained(
        str(folder / "base"), create_model_card=False
    )
    return folder / "base"


def test_training_goes_on_from_its_checkpoint(tiny_embedder, tmp_path):
    from knowledge.embedding import SentenceEmbedder

    triplets = [Triplet(f"what is {n} a", f"{n} is a thing", f"{n + 7} was none", "x", "two") for n in range(48)]
    config, out, steps = TuneConfig(batch=4, learning_rate=1e-3), tmp_path / "out", []

    def stop_late(step, loss):
        steps.append(step)
        if step == 11:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(tiny_embedder, triplets, config, tmp_path / "work", out, stop_late)
    assert not out.exists()
    again = []
    tune(tiny_embedder, triplets, config, tmp_path / "work", out, lambda step, loss: again.append(step))
    assert again[0] == 11 and max(again) == 12 == config.steps(48)
    assert len((tmp_path / "work" / "loss.jsonl").read_text().splitlines()) == 12
    before, after = SentenceEmbedder(tiny_embedder), SentenceEmbedder(out)
    assert before.identity != after.identity
    assert not np.allclose(before.embed(["a thing"]), after.embed(["a thing"]), atol=1e-3)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_run_from_course_to_verdict_and_its_command(tiny_embedder, tmp_path, monkeypatch):
    from knowledge.embedding import SentenceEmbedder

    monkeypatch.setattr("assistant.embedders.model_path", lambda name: tiny_embedder)
    monkeypatch.setattr("finetune.embedder.pairs._NEARLY", 2.0)  # to random weights all texts are nearly the same
    monkeypatch.setattr("finetune.embedder.run._LEAST", 20)
    settings = Settings(data_dir=tmp_path)
    index = CourseIndex(settings.index_dir, SentenceEmbedder(tiny_embedder))
    ingest(index, sorted(STARTER_COURSE.glob("0[1-4]*.md")))
    monkeypatch.setattr("assistant.settings.load_settings", lambda: settings)
    app = typer.Typer()
    commands_embedder.add(app)
    runner = CliRunner()
    dry = runner.invoke(app, ["--dry-run", "--count", "100"], catch_exceptions=False)
    assert dry.exit_code == 0 and "3 lessons to learn from, 1 kept" in dry.output
    assert not settings.finetune_dir.exists()
    result = runner.invoke(app, ["--count", "100", "--name", "one", "--no-promote"], catch_exceptions=False)
    assert result.exit_code in (0, 1), result.output
    manifest = json.loads((settings.finetune_dir / "runs" / "one" / "manifest.json").read_text())
    assert manifest["state"] == ("passed" if result.exit_code == 0 else "refused")
    assert manifest["rows"]["triplets"] >= 20 and len(manifest["lessons_held"]) == 1
    lines = (settings.finetune_dir / "runs" / "one" / "triplets.jsonl").read_text().splitlines()
    assert not {json.loads(line)["lesson"] for line in lines} & set(manifest["lessons_held"])
    monkeypatch.setattr("finetune.embedder.run.tune", None)  # it is done, so nothing is trained again
    again = TuningRun(settings, "one", Wanted()).judge(lambda *_: None).as_json()
    # To random weights all texts are nearly the same, so the last bits of a sum decide who is first: no figures here.
    of = [[(each["name"], each["n"]) for each in gate["criteria"]] for gate in (again, manifest["gate"])]
    assert of[0] == of[1]
    with pytest.raises(CourseError, match="no name"):
        runner.invoke(app, ["--name", "../x"], catch_exceptions=False)
