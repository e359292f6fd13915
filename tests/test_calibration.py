"""Made questions, the threshold fitted on them, and what a question asks for."""

import asyncio
import json
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from knowledge import calibrated
from knowledge.asking import is_underspecified, parts, stands_alone
from knowledge.calibration import _Course, _shift, calibrate, recalibrate_if_stale
from knowledge.errors import CourseError
from knowledge.ingest import ingest
from knowledge.lexical import terms
from knowledge.questions import FAR, questions_from
from knowledge.retrieval import RELEVANCE_WEIGHTS, CourseRetriever, relevance
from knowledge.settings import RetrievalSettings

ANIMALS = (
    "quokka",
    "wombat",
    "numbat",
    "bilby",
    "dunnart",
    "potoroo",
    "quoll",
    "bandicoot",
    "glider",
    "possum",
    "bettong",
    "kowari",
)
PLACES = ("heath", "scrub", "mangrove", "savanna", "gorge", "estuary", "plateau", "dune", "marsh", "delta", "canyon", "prairie")


def lesson(animal: str, place: str) -> str:
    return (
        f"# The {animal}\n\nThe {animal} sleeps in the {place} by day and feeds there at night. "
        f"A {animal} is shy because the {place} shelters few of its kind. Farmers protect the {animal} with fences.\n\n"
        f"## Where the {animal} lives\n\nEvery {place} with tall grass can feed a {animal} for years. "
        f"The {animal} leaves the {place} when fire destroys its burrow, and returns a year later."
    )


def zoo(folder, animals=ANIMALS):
    folder.mkdir(exist_ok=True)
    for animal, place in zip(animals, PLACES, strict=False):
        (folder / f"{animal}.md").write_text(lesson(animal, place), encoding="utf-8")
    return folder


@pytest.fixture
def course(index, tmp_path):
    ingest(index, [zoo(tmp_path / "zoo")])
    return index


def test_questions_are_about_phrases_that_recur_in_a_document(course):
    passages = course.catalogue.all_passages()
    made = questions_from(passages, 100)
    assert len(made) >= 30
    texts = {passage.id: set(terms(passage.searchable)) for passage in passages}
    for question in made:
        assert question.subject <= set(terms(question.text))
        assert question.subject <= texts[question.passage_id]
    assert len({question.text.lower() for question in made}) == len(made)
    assert {"echo", "two", "reason", "keywords"} == {question.kind for question in made}
    assert len({question.passage_id for question in questions_from(passages, 8)}) >= 6, "not spread over the documents"


def test_the_same_seed_makes_the_same_questions(course):
    passages = course.catalogue.all_passages()
    assert questions_from(passages, 40, seed=3) == questions_from(passages, 40, seed=3) != questions_from(passages, 40, seed=4)


@pytest.mark.parametrize("text", ["", "| a | b |\n|---|---|\n| 1 | 2 |", "x = [1, 2]\nprint(x)", "Too short.", "1. 2. 3."])
def test_what_is_no_plain_sentence_makes_no_question(index, tmp_path, text):
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "odd.md").write_text(f"# Odd\n\n{text}", encoding="utf-8")
    ingest(index, [folder])
    assert questions_from(index.catalogue.all_passages(), 10) == []


def test_hiding_nothing_gives_what_the_retriever_gives(course):
    lab, retriever = _Course(course, RetrievalSettings()), CourseRetriever(index=course)
    for question in ("What shelters the quokka?", "dune bilby fences", FAR[0]):
        logit = lab.logit(question, course.embedder.embed([question])[0])
        assert 1 / (1 + np.exp(-logit)) == pytest.approx(retriever.retrieve(question).relevance, abs=1e-4)


def test_a_question_whose_subject_is_hidden_is_less_relevant(course):
    lab = _Course(course, RetrievalSettings())
    for question in questions_from(course.catalogue.all_passages(), 30):
        vector = course.embedder.embed([question.text])[0]
        assert lab.logit(question.text, vector, lab.knowing(question)) < lab.logit(question.text, vector)


def test_with_everything_hidden_nothing_is_relevant(course):
    lab = _Course(course, RetrievalSettings())
    vector = course.embedder.embed(["quokka"])[0]
    assert lab.logit("quokka", vector, np.ones(len(lab.ids), dtype=bool)) == pytest.approx(RELEVANCE_WEIGHTS[0])


def test_the_shift_brings_the_wanted_share_below_the_threshold():
    logits = np.linspace(-2, 4, 100_000)
    assert (logits < 0).mean() == pytest.approx(1 / 3, abs=0.01)
    assert (logits + _shift(logits, 0.1) < 0).mean() == pytest.approx(0.1, abs=0.01)
    assert (logits + _shift(logits, 0.2) < 0).mean() == pytest.approx(0.2, abs=0.01)


def test_few_questions_move_little_and_none_moves_far():
    far_off = np.full(25, 1.0)
    assert _shift(-far_off, 0.05) == pytest.approx(1.0 * 25 / 125)
    assert _shift(np.full(5000, -40.0), 0.05) == 2.0


def test_easy_questions_never_make_it_stricter():
    assert _shift(np.full(5000, 40.0), 0.05) == 0.0


def test_a_calibration_says_what_each_threshold_costs(course):
    seen = []
    found = calibrate(course, RetrievalSettings(), questions=40, tell=lambda done, total: seen.append((done, total)))
    assert found.questions == 40
    assert seen[-1] == (40 + len(FAR), 40 + len(FAR))
    refused = [point.false_refusals for point in found.curve]
    through = [point.let_through for point in found.curve]
    assert refused == sorted(refused)
    assert through == sorted(through, reverse=True)
    assert found.chosen in found.curve
    assert found.passages == len(course.catalogue.passage_ids())


def test_a_shipped_threshold_that_is_too_strict_for_the_course_is_loosened(course, monkeypatch):
    monkeypatch.setattr("knowledge.calibration.RELEVANCE_WEIGHTS", (-13.5, *RELEVANCE_WEIGHTS[1:]))
    lax, less = (calibrate(course, RetrievalSettings(), 60, share) for share in (0.02, 0.3))
    assert lax.shift > less.shift > 0
    assert lax.chosen.false_refusals <= less.chosen.false_refusals < less.before.false_refusals
    assert lax.chosen.let_through >= less.chosen.let_through >= less.before.let_through


def test_one_that_is_not_stays_as_it_is(course):
    found = calibrate(course, RetrievalSettings(), 60, 0.5)
    assert found.shift == 0
    assert found.chosen == found.before


def test_a_course_that_is_too_small_is_said_to_be(ingested):
    with pytest.raises(CourseError, match="questions could be made"):
        calibrate(ingested, RetrievalSettings())
    assert recalibrate_if_stale(ingested, RetrievalSettings()) is None
    assert not (ingested.folder / calibrated.FILE).exists()


def written(index, shift):
    found = calibrate(index, RetrievalSettings(), 20).model_copy(update={"shift": shift})
    calibrated.write(index.folder, found)
    return found


@pytest.mark.parametrize("shift", [-1.5, 0.8])
def test_the_retriever_uses_the_calibration_of_its_index(course, shift):
    retriever = CourseRetriever(index=course)
    before = retriever.retrieve("What shelters the quokka?")
    written(course, shift)
    after = retriever.retrieve("What shelters the quokka?")
    assert after.signals == before.signals
    assert after.relevance == relevance(*before.signals, shift=shift) != before.relevance
    assert [item.passage.id for item in after.passages] == [item.passage.id for item in before.passages]


@pytest.mark.parametrize("change", [{"embedder": "another"}, {"weights": (0.0, 1.0, 1.0)}])
def test_a_calibration_of_another_embedder_or_version_is_not_used(course, change):
    calibrated.write(course.folder, written(course, 1.0).model_copy(update=change))
    found = CourseRetriever(index=course).retrieve("What shelters the quokka?")
    assert found.relevance == relevance(*found.signals)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"shift": 1}', "\x00\xff"])
def test_a_damaged_calibration_is_told_and_not_used(course, text, caplog):
    (course.folder / calibrated.FILE).write_text(text, encoding="latin-1")
    found = CourseRetriever(index=course).retrieve("What shelters the quokka?")
    assert found.relevance == relevance(*found.signals)
    assert "lectern calibrate" in caplog.text


def test_it_is_redone_only_when_much_has_changed(course, tmp_path):
    settings = RetrievalSettings()
    first = recalibrate_if_stale(course, settings)
    assert first is not None
    assert recalibrate_if_stale(course, settings) is None
    calibrated.write(course.folder, first.model_copy(update={"target": 0.3}))
    (tmp_path / "zoo" / "quokka.md").write_text(lesson("echidna", "moor"), encoding="utf-8")
    ingest(course, [tmp_path / "zoo"])
    assert recalibrate_if_stale(course, settings) is None, "one of twelve lessons is not a fifth of the course"
    for animal in ("wombat", "numbat", "bilby"):
        (tmp_path / "zoo" / f"{animal}.md").write_text(lesson(f"{animal}us", "moor"), encoding="utf-8")
    ingest(course, [tmp_path / "zoo"])
    again = recalibrate_if_stale(course, settings)
    assert again is not None
    assert again.target == 0.3, "what the user allowed is kept"


def generation(index):
    """Of the course, as its calibration has it."""
    return calibrated.read(index.folder, index.embedder.identity, RELEVANCE_WEIGHTS).generation


def test_removing_much_of_a_course_calibrates_it_anew(course, tmp_path, monkeypatch):
    import typer

    from assistant.commands.ingest import sources

    monkeypatch.setattr("assistant.course.open_index", lambda settings: course)
    app = typer.Typer()
    app.add_typer(sources, name="sources")
    first = recalibrate_if_stale(course, RetrievalSettings()).generation
    names = [str(tmp_path / "zoo" / f"{animal}.md") for animal in ANIMALS]
    assert CliRunner().invoke(app, ["sources", "remove", names[0]]).exit_code == 0
    assert generation(course) == first, "one of twelve lessons is not a fifth of the course"
    wrong = CliRunner().invoke(app, ["sources", "remove", names[1], "no such lesson"])
    assert isinstance(wrong.exception, CourseError)
    assert len(course.sources()) == 11, "a wrong name removes nothing"
    assert CliRunner().invoke(app, ["sources", "remove", names[1], names[1], "The numbat"]).exit_code == 0
    assert len(course.sources()) == 9
    assert generation(course) == course.catalogue.generation > first


def test_the_pages_remove_calibrates_too(course, tmp_path, monkeypatch):
    from assistant.web import app_root

    app_root.prepare()  # Chainlit reads its folder when it is imported
    from assistant.settings import Settings
    from assistant.web import sources

    async def opened():
        return SimpleNamespace(index=course, settings=Settings(data_dir=tmp_path))

    monkeypatch.setattr(sources, "opened", opened)
    first = recalibrate_if_stale(course, RetrievalSettings()).generation
    for animal in ANIMALS[:4]:
        left = asyncio.run(sources.remove_source(str(tmp_path / "zoo" / f"{animal}.md")))
        assert left["problem"] == ""
    assert len(left["documents"]) == 8
    assert generation(course) > first


def test_the_share_that_changed_by_hand(course):
    found = written(course, 0.0)
    ids = course.catalogue.passage_ids()
    assert found.changed(ids) == 0
    assert found.changed(ids[: len(ids) // 2]) == pytest.approx(0.5)
    assert found.changed([]) == 1
    many = [f"{number:016x}" for number in np.random.default_rng(0).integers(2**62, size=5000)]
    big = found.model_copy(update={"sample": calibrated.sample_of(many)})
    assert big.changed(many) == 0
    assert big.changed(many[:4000]) == pytest.approx(0.2, abs=0.04)


def test_the_file_is_written_in_one_step(course, monkeypatch):
    written(course, 0.5)
    before = (course.folder / calibrated.FILE).read_text()
    monkeypatch.setattr("pathlib.Path.replace", lambda self, target: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        written(course, 1.0)
    assert (course.folder / calibrated.FILE).read_text() == before
    assert json.loads(before)["shift"] == 0.5


@pytest.fixture
def command(course, monkeypatch):
    import typer

    from assistant.commands.calibrate import calibrate as run

    monkeypatch.setattr("assistant.course.open_index", lambda settings: course)
    app = typer.Typer()
    app.command()(run)
    return lambda *args: CliRunner().invoke(app, list(args))


def test_the_command_prints_the_curve_and_what_was_chosen(command, course):
    told = command("--questions", "40")
    assert told.exit_code == 0
    assert "Chosen: 0.5" in told.stdout
    assert all(f"{step / 10:.1f}" in told.stdout for step in range(1, 10))
    assert calibrated.read(course.folder, course.embedder.identity, RELEVANCE_WEIGHTS) is not None


def test_the_command_prints_json(command):
    found = json.loads(command("--questions", "40", "--json", "--false-refusals", "0.1").stdout)
    assert (found["target"], found["questions"], len(found["curve"])) == (0.1, 40, 9)
    assert "sample" not in found


def test_the_command_says_that_a_threshold_of_the_user_wins(command, monkeypatch):
    from assistant.settings import Settings

    monkeypatch.setattr("assistant.commands.calibrate.load_settings", lambda: Settings(retrieval={"threshold": 0.3}))
    assert "retrieval.threshold = 0.3" in " ".join(command("--questions", "40").stdout.split())


@pytest.mark.parametrize(
    "question",
    ["How does it work?", "Explain the second one.", "Why?", "What is this?", "???", "tell me more", "How is it trained?", "👍",
     "of the and to of the in of and", "Can you explain that?", "What's the point of this?"],
)  # fmt: skip
def test_what_nobody_could_understand_is_underspecified(question):
    assert is_underspecified(question, has_conversation=False)
    assert not is_underspecified(question, has_conversation=True)


@pytest.mark.parametrize(
    "question",
    ["What is dropout?", "What does it mean to overfit?", "Explain the second law of Kepler.", "why is the sky blue",
     "Is it a problem if a tree is deep?", "What does this theorem of Bayes say?", "Was ist Dropout?", "AdaGrad",
     "Which planet is it that moves fastest?", "¿Qué es dropout?", "What is meant by that theorem of Bayes?"],
)  # fmt: skip
def test_what_can_be_searched_for_is_not(question):
    assert not is_underspecified(question, has_conversation=False)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is dropout and who won the 2018 World Cup?", ["What is dropout?", "Who won the 2018 World Cup?"]),
        ("What is rubisco? When did Kepler live?", ["What is rubisco?", "When did Kepler live?"]),
        ("Who proposed the GRU, and how does Mamba improve on it?", ["Who proposed the GRU?", "How does Mamba improve on it?"]),
        ("I was ill last week. What is rubisco? And where do I park?", ["What is rubisco?", "And where do I park?"]),
    ],
)
def test_a_question_is_cut_where_another_begins(question, expected):
    assert parts(question) == expected


@pytest.mark.parametrize(
    "question",
    ["What is the difference between precision and recall?", "When and why does a tree overfit?", "What is a GRU and why?",
     "What is dropout?", "How do salt and pepper noise and blur compare?", "", "???", "What is dropout and why is it used?",
     "The scores are divided by the root of d. What is the reason?", "Tell me about ATP and NADPH."],
)  # fmt: skip
def test_one_question_stays_whole(question):
    assert parts(question) == [question]


def test_a_part_that_points_back_does_not_stand_alone():
    told = [stands_alone(part) for part in parts("Where does the slope of the curve peak, and how large can it get?")]
    assert told == [True, False]
    assert stands_alone("How high is the fine for breaking the law?")
