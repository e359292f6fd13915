import json
import sqlite3

import pytest
import typer
from finetune_course import production, some
from typer.testing import CliRunner

from assistant.chain import CourseChain
from assistant.events import Turn
from assistant.history import History, TurnRecord, now
from assistant.prompts import NOT_COVERED
from assistant.settings import Settings, load_settings
from finetune.data.build import Wanted
from finetune.data.conversations import gather
from finetune.data.decontaminate import read_cases
from finetune.data.forget import forget_deleted, training_rows
from finetune.data.reciter import Reciter
from finetune.data.save import save
from finetune.rows import PAIRS_TRAIN, THUMBS, Pair, Thumb, data_folder, read, read_manifest, write
from knowledge.errors import CourseError
from knowledge.evidence import EvidencePlanner
from knowledge.retrieval import CourseRetriever

BAD = "Bananas were invented in 1776 by seven astronauts."


def turn(id_, question, answer, value=None, comment=None, consent=True, conversation="", refused=None):
    return TurnRecord(
        id_, conversation, now(), question, question, answer, refused, {"cold": True}, value, comment, consent
    )  # fmt: skip


def asked(number=0):
    one = some("oracle", number)
    return one.asked.question, one.asked.answer


@pytest.fixture
def settings():
    load_settings.cache_clear()
    yield load_settings()
    load_settings.cache_clear()


# Judgements


def test_thumbs_become_rows_with_the_turn_that_they_are_about():
    question, answer = asked()
    found = gather(
        production(), [turn("t1", question, answer, 1), turn("t2", question, BAD, 0, "no"), turn("t3", question, answer)]
    )
    assert [(thumb.label, thumb.completion, thumb.origin.turns) for thumb in found.thumbs] == [
        (True, answer, ("t1",)), (False, BAD, ("t2",))
    ]  # fmt: skip
    assert found.thumbs[0].lesson == some("oracle").row.lesson
    assert found.thumbs[0].evidence[0]["quote"] in answer
    assert found.thumbs[1].evidence[-1] == {"comment": "no"}
    assert not found.pairs and not found.left_out


def test_a_thumbs_up_does_not_outvote_the_check_of_support():
    question, answer = asked()
    found = gather(production(), [turn("t1", question, BAD, 1), turn("t2", question, f"{answer} {BAD}", 1)])
    assert not found.thumbs and not found.pairs
    assert found.left_out == {"thumbs up, but not supported by the course": 2}


def test_a_thumbs_down_with_a_supported_correction_is_a_pair():
    question, answer = asked()
    found = gather(production(), [turn("t1", question, BAD, 0, f"Correction: {answer}")])
    (pair,) = found.pairs
    assert (pair.chosen, pair.rejected, pair.kind, pair.origin.turns) == (answer, BAD, "thumb", ("t1",))
    assert pair.evidence["chosen"][0]["support"] > 0.6 and "left_out" in pair.evidence["rejected"][0]
    assert not found.thumbs


def test_a_correction_that_the_course_does_not_support_is_only_a_comment():
    question, answer = asked()
    found = gather(production(), [turn("t1", question, answer, 0, BAD)])
    assert not found.pairs
    assert [(thumb.label, thumb.evidence[-1]) for thumb in found.thumbs] == [(False, {"comment": BAD})]


def test_a_needless_refusal_can_be_judged_too():
    question, answer = asked()
    found = gather(production(), [turn("t1", question, "", 0, answer, refused="unsupported")])
    assert [(pair.chosen, pair.rejected) for pair in found.pairs] == [(answer, NOT_COVERED)]
    assert gather(production(), [turn("t2", question, "", 0, refused="input.injection")]).left_out


def test_without_consent_nothing_is_taken_not_even_as_context():
    first, then = some("follow_up").asked.follows, some("follow_up").asked
    one = turn("t1", first.question, first.answer, 1, consent=False, conversation="c")
    two = turn("t2", then.question, then.answer, 1, conversation="c")
    found = gather(production(), [two, one])
    assert not found.thumbs and not found.pairs
    assert found.left_out == {"no consent": 1, "no consent, or none for what it hangs on": 1}
    allowed = turn("t1", first.question, first.answer, consent=True, conversation="c")
    (thumb,) = gather(production(), [two, allowed]).thumbs
    assert set(thumb.origin.turns) == {"t1", "t2"} and thumb.prompt[1]["content"] == first.question


def test_personal_data_is_masked():
    question, answer = asked()
    said = turn("t1", f"{question} Write to ada.brown@mail.org", answer, 0, "Call me: +44 20 7946 0958, password: hunter2Xy!")
    (thumb,) = gather(production(), [said]).thumbs
    text = json.dumps(thumb.to_json())
    assert "ada.brown" not in text and "7946" not in text and "hunter2" not in text
    assert "[EMAIL_1]" in thumb.prompt[-1]["content"]


# Consent and deletion


def test_consent_is_kept_with_the_turn_and_can_be_taken_back(settings):
    history = History(settings.history_file)
    retriever = CourseRetriever(index=production().index)
    question, answer = asked()
    verifier = production()._verifier
    for consent in (True, False):
        chain = CourseChain(retriever, EvidencePlanner(production().index), Reciter(text=answer), verifier, history)
        chain.invoke(Turn(question, "c", consent=consent))
    newest, oldest = history.turns()
    assert (newest.consent, oldest.consent) == (False, True)
    assert history.consented() == {oldest.id}
    history.withdraw("another")
    assert history.consented() == {oldest.id}
    history.withdraw("c")
    assert not history.consented()


def test_turns_from_before_there_was_a_choice_have_no_consent(settings):
    settings.history_file.parent.mkdir(parents=True)
    with sqlite3.connect(settings.history_file) as db:
        db.execute(
            "CREATE TABLE turns (id TEXT PRIMARY KEY, conversation TEXT NOT NULL, asked_at TEXT NOT NULL, "
            "question TEXT NOT NULL, standalone TEXT NOT NULL, answer TEXT NOT NULL, refused TEXT, record TEXT NOT NULL)"
        )
        db.execute("INSERT INTO turns VALUES ('old', 'c', '2026-01-01', 'q', 'q', 'a', NULL, '{}')")
    db.close()
    history = History(settings.history_file)
    assert [(t.id, t.consent) for t in history.turns()] == [("old", False)]
    history.add(turn("new", "q", "a"))
    assert history.consented() == {"new"}


def put_rows(settings, *ids):
    """A thumb and a pair for each turn, in files with a manifest."""
    question, answer = asked()
    turns = [turn(id_, question, BAD, 0, comment) for id_ in ids for comment in ("no", answer)]
    found = gather(production(), turns)
    save(data_folder(settings.finetune_dir), [*found.thumbs, *found.pairs], frozenset(), read_cases(), Wanted(), {}, print)
    return data_folder(settings.finetune_dir)


def test_the_rows_of_deleted_turns_leave_the_disk_before_anything_reads_them(settings):
    history = History(settings.history_file)
    for id_ in ("t1", "t2", "t3"):
        history.add(turn(id_, "q", "a"))
    folder = put_rows(settings, "t1", "t2", "t3")
    assert len(training_rows(settings, THUMBS, Thumb)) == len(training_rows(settings, PAIRS_TRAIN, Pair)) == 3
    history.delete(["t2"])
    assert [row.origin.turns for row in training_rows(settings, PAIRS_TRAIN, Pair)] == [("t1",), ("t3",)]
    assert "t2" not in [id_ for row in read(folder / THUMBS, Thumb) for id_ in row.origin.turns]
    assert read_manifest(folder)["counts"][THUMBS] == {"thumb down": 2}
    with sqlite3.connect(settings.history_file) as db:
        db.execute("UPDATE turns SET consent = 0 WHERE id = 't1'")
    db.close()
    assert forget_deleted(settings) == 2
    settings.history_file.unlink()
    assert forget_deleted(settings) == 2
    assert training_rows(settings, THUMBS, Thumb) == []


def test_every_command_forgets_first(settings, monkeypatch):
    import finetune.commands as commands

    folder = put_rows(settings, "t1")  # which is in no history
    app = typer.Typer()
    commands.add(app)
    app.command("other")(lambda: None)
    result = CliRunner().invoke(app, ["finetune", "rows"])
    assert result.exit_code == 0, result.output
    assert (folder / THUMBS).read_text() == (folder / PAIRS_TRAIN).read_text() == ""


def test_rows_that_were_changed_by_hand_are_refused(settings):
    folder = put_rows(settings)
    write(folder / THUMBS, [])
    training_rows(settings, THUMBS, Thumb)
    (folder / THUMBS).unlink()
    with pytest.raises(CourseError, match="not what was built"):
        training_rows(settings, THUMBS, Thumb)
    with pytest.raises(CourseError, match="lectern finetune data"):
        training_rows(Settings(data_dir=settings.data_dir / "elsewhere"), THUMBS, Thumb)
