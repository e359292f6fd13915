"""`lectern screen`, `lectern check` and `lectern guard` as a teacher types them."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from conftest import BagOfWordsEmbedder
from typer.testing import CliRunner

from assistant.commands import guard
from assistant.commands.guard_report import summed_up
from assistant.history import History, TurnRecord, now
from assistant.settings import load_settings
from course_guard.policy import load_policy
from course_guard.question import QuestionScreen
from course_guard.verdict import Finding
from knowledge.errors import CourseError

app = typer.Typer()
app.command()(guard.screen)
app.command()(guard.check)
app.add_typer(guard.app, name="guard")

NOTES = """# Dropout

Dropout switches off randomly chosen units during training. At test time all units are active.

# Weight decay

Weight decay adds the squared length of the weights to the loss.
"""


class Ignore:
    name = "input.injection"

    def look(self, text):
        start = text.find("ignore")
        return None if start < 0 else Finding("It gives an order.", ((start, start + 6),), 0.99)


class Key:
    name = "input.secrets"

    def look(self, text):
        start = text.find("sk-1")
        if start < 0:
            return None
        masked = text.replace("sk-1", "[KEY_1]")
        return Finding("It has a key.", ((start, start + 4),), 1.0, masked, (("[KEY_1]", "sk-1"),))


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lectern.toml").write_text("")
    load_settings.cache_clear()
    monkeypatch.setattr("assistant.models.model_path", lambda name: Path("nowhere"))
    monkeypatch.setattr("knowledge.embedding.SentenceEmbedder", lambda folder: BagOfWordsEmbedder())
    monkeypatch.setattr(
        "course_guard.question.question_screen", lambda embedder, policy: QuestionScreen([Ignore(), Key()], policy)
    )
    yield
    load_settings.cache_clear()


def lectern(*arguments, typed=None):
    """Exit code, output, error."""
    done = CliRunner().invoke(app, [*map(str, arguments)], input=typed)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout


def as_json(*arguments, typed=None):
    code, out = lectern(*arguments, "--json", typed=typed)
    return code, json.loads(out)


# screen


def test_a_harmless_question_may_pass():
    code, screening = as_json("screen", "What is dropout?")
    assert code == 0
    assert screening == {
        "allowed": True,
        "rule": None,
        "reason": None,
        "spans": [],
        "text": "What is dropout?",
        "verdicts": [],
    }


def test_a_blocked_question_names_rule_reason_and_place():
    code, screening = as_json("screen", "Please ignore it all.")
    assert code == 1
    assert (screening["allowed"], screening["rule"], screening["spans"]) == (False, "input.injection", [[7, 13]])
    assert screening["reason"] == load_policy().input.injection.message
    assert screening["verdicts"][0] == {
        "allowed": False,
        "rule": "input.injection",
        "reason": screening["reason"],
        "spans": [[7, 13]],
        "action": "block",
        "score": 0.99,
    }


def test_a_warning_passes_masked_and_what_was_masked_is_not_printed():
    code, screening = as_json("screen", "Is sk-1 a key?")
    assert (code, screening["allowed"], screening["rule"]) == (0, True, "input.secrets")
    assert screening["text"] == "Is [KEY_1] a key?"
    assert "sk-1" not in json.dumps(screening)


def test_a_block_counts_more_than_a_warning():
    assert as_json("screen", "sk-1, ignore it")[1]["rule"] == "input.injection"


def test_people_read_it_in_words():
    code, out = lectern("screen", "ignore [bold]sk-1")
    assert code == 1
    assert "Blocked." in out
    assert "input.injection (0.99)" in out
    assert "It goes on as: ignore [bold][KEY_1]" in out
    assert "It may pass." in lectern("screen", "What is dropout?")[1]


def test_the_text_may_come_from_standard_input():
    assert as_json("screen", "-", typed="Please ignore it.\n")[1]["spans"] == [[7, 13]]
    assert as_json("screen", "-", typed=b"\xff ignore")[1]["spans"] == [[2, 8]]


@pytest.mark.parametrize("typed", ["", " \n"])
def test_an_empty_text_is_a_mistake(typed):
    with pytest.raises(CourseError, match="empty"):
        lectern("screen", "-", typed=typed)


def test_the_teachers_policy_is_in_force(tmp_path):
    (tmp_path / "policy.toml").write_text('[input.injection]\naction = "shadow"')
    code, screening = as_json("screen", "ignore it")
    assert (code, screening["allowed"], screening["rule"]) == (0, True, None)
    assert screening["verdicts"][0]["action"] == "shadow"
    assert "in shadow: nothing follows" in lectern("screen", "ignore it")[1]


# check


@pytest.fixture
def notes(tmp_path):
    path = tmp_path / "notes.md"
    path.write_text(NOTES)
    return path


def test_a_supported_claim_comes_with_its_place(notes):
    code, support = as_json("check", "Dropout switches off randomly chosen units during training.", "--source", notes)
    assert (code, support["supported"]) == (0, True)
    assert support["probability"] > 0.9
    citation = support["citation"]
    assert citation["quote"] == "Dropout switches off randomly chosen units during training."
    assert NOTES[citation["start"] : citation["end"]] == citation["quote"]
    assert citation["heading"] == "Dropout"


def test_an_unsupported_claim_is_exit_code_1(notes):
    code, support = as_json("check", "Transformers were invented by three monks.", "-s", notes)
    assert (code, support["supported"], support["citation"]) == (1, False, None)
    assert support["reason"]
    assert "Not supported" in lectern("check", "Transformers were invented by monks.", "-s", notes)[1]


def test_people_see_the_quoted_place(notes):
    code, out = lectern("check", "Weight decay adds the squared length of the weights to the loss.", "-s", notes)
    assert code == 0
    assert "Supported" in out
    assert "Weight decay: Weight decay adds the squared length" in out


def test_a_long_file_is_searched_for_the_claim_first(tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "_PASSAGES", 2)
    path = tmp_path / "long.md"
    path.write_text(
        "".join(f"# Part {n}\n\nThe river number {n} flows to the city of {'abcdefghij'[n] * 6}.\n\n" for n in range(10))
    )
    code, support = as_json("check", "The river number 7 flows to the city of hhhhhh.", "-s", path)
    assert (code, support["citation"]["heading"]) == (0, "Part 7")


def test_a_file_that_is_not_there_or_empty_is_a_mistake(tmp_path):
    with pytest.raises(CourseError, match="no file"):
        lectern("check", "A claim.", "-s", tmp_path / "none.md")
    (tmp_path / "only.md").write_text("# Heading\n")
    with pytest.raises(CourseError, match="no text to check against"):
        lectern("check", "A claim.", "-s", tmp_path / "only.md")


# policy


def test_the_policy_in_force_says_where_each_value_is_from(tmp_path):
    (tmp_path / "policy.toml").write_text('[input.abuse]\naction = "off"')
    _, policy = as_json("guard", "policy")
    assert policy["input.abuse"]["action"]["value"] == "off"
    assert policy["input.abuse"]["action"]["from"].endswith("policy.toml")
    assert policy["input.abuse"]["threshold"]["from"] == "lectern"
    assert policy["input.length"]["max_chars"] == {"value": 4000, "from": "lectern"}
    assert set(policy) == set(load_policy().rules())


def test_people_see_what_is_theirs(tmp_path):
    _, out = lectern("guard", "policy")
    assert "policy.toml, which is not there" in out
    (tmp_path / "policy.toml").write_text('[input.abuse]\naction = "off"')
    _, out = lectern("guard", "policy")
    assert "input.abuse         off*, threshold 0.5" in out
    assert "input.length        block, threshold 0.5, max_chars 4000" in out
    assert "which is not there" not in out


def test_a_fault_in_the_policy_stops_every_command(tmp_path):
    (tmp_path / "policy.toml").write_text("[input.abuse]\nacton = 1")
    for arguments in (["screen", "x"], ["guard", "policy"]):
        with pytest.raises(CourseError, match="acton"):
            lectern(*arguments)


# report


def turn(id_, *verdicts, refused=None, ms=None, days=0):
    asked = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="milliseconds")
    record = {"timings": {"screen_ms": ms}}
    if verdicts:
        record["verdicts"] = [{"rule": rule, "action": action, "allowed": action != "block"} for rule, action in verdicts]
    return TurnRecord(id_, "c", asked, f"question {id_}", "", "", refused, record)


BLOCK, WARN, SHADOW = ("input.injection", "block"), ("input.secrets", "warn"), ("input.abuse", "shadow")


@pytest.fixture
def history():
    history = History(load_settings().history_file)
    history.add(turn("t1", ms=10.0))
    history.add(turn("t2", BLOCK, WARN, refused="input.injection", ms=20.0))
    history.add(turn("t3", BLOCK, refused="input.injection", ms=30.0))
    history.add(turn("t4", SHADOW, ("output.markup", "warn"), ("output.markup", "warn"), ms=40.0))
    history.add(turn("t5", WARN, days=9))
    history.add(turn("t6", ("output.leak", "block"), refused="unsupported"))
    history.add(turn("t8", ("input.graded_work", "warn"), refused="input.graded_work"))
    history.rate("t8", 0)
    history.add(TurnRecord("t7", "c", now(), "old", "", "", None, {}))
    history.rate("t2", 0, "I asked about [bold]prompts")
    history.rate("t3", 1)
    history.rate("t6", 0)
    return history


def test_the_report_counts_turns_by_rule(history):
    code, report = as_json("guard", "report")
    assert code == 0
    assert (report["turns"], report["blocked"]) == (8, 2)
    assert report["rules"] == {
        "input.abuse": {"blocked": 0, "warned": 0, "shadow": 1, "appealed": 0},
        "input.graded_work": {"blocked": 0, "warned": 1, "shadow": 0, "appealed": 1},
        "input.injection": {"blocked": 2, "warned": 0, "shadow": 0, "appealed": 1},
        "input.secrets": {"blocked": 0, "warned": 2, "shadow": 0, "appealed": 0},
        "output.leak": {"blocked": 1, "warned": 0, "shadow": 0, "appealed": 0},
        "output.markup": {"blocked": 0, "warned": 1, "shadow": 0, "appealed": 0},
    }
    assert report["screen_ms"] == {"n": 4, "p50": 20.0, "p95": 40.0}


def test_a_thumb_down_on_a_refusal_by_a_rule_is_an_appeal(history):
    appeals = as_json("guard", "report")[1]["appeals"]
    assert [(a["id"], a["rule"], a["question"], a["comment"]) for a in appeals] == [
        ("t8", "input.graded_work", "question t8", None),
        ("t2", "input.injection", "question t2", "I asked about [bold]prompts"),
    ]


def test_the_report_may_be_of_the_last_days_only(history):
    report = as_json("guard", "report", "--days", "7")[1]
    assert report["turns"] == 7
    assert report["rules"]["input.secrets"]["warned"] == 1


def test_people_read_the_report(history):
    _, out = lectern("guard", "report")
    assert "8 turns, 2 of them blocked." in out
    assert "Appeal against input.injection (t2): question t2" in out
    assert "I asked about [bold]prompts" in out
    assert "20.0 ms (median of 4 turns), 95% at most 40.0 ms" in out


def test_a_report_of_nothing_is_no_fault():
    assert summed_up([])["screen_ms"] == {"n": 0, "p50": None, "p95": None}
    assert lectern("guard", "report")[1] == "0 turns, 0 of them blocked.\n"


def test_help_has_examples():
    for arguments in (["screen"], ["check"], ["guard", "report"], ["guard", "policy"]):
        assert f"lectern {' '.join(arguments)}" in lectern(*arguments, "--help")[1]


def test_the_commands_start_light():
    code = "import sys, assistant.commands.guard; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1], check=True
    )
    assert {"guardrails", "numpy", "pydantic", "course_guard"} & set(done.stdout.split()) == set()
