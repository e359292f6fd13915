"""Our rules in guardrails-ai: as a stranger uses them, without a word to its makers, and without a trace of the texts."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from course_guard import library
from course_guard.library import RuleGuard, make_rule, rules, validator, validator_class
from course_guard.policy import load_policy
from course_guard.verdict import Finding

ROOT = Path(__file__).resolve().parents[1]


class Shouts:
    """Notices capital letters, and mends them."""

    name = "output.markup"

    def look(self, text):
        if text == text.lower():
            return None
        return Finding("It shouts.", ((0, len(text)),), 0.8, text.lower())


class Fails:
    name = "output.leak"

    def look(self, text):
        raise RuntimeError("this rule is broken")


class Counts:
    """Needs to know something beside the text."""

    name = "output.citations"
    wants = ("sources",)

    def look(self, text, sources=None):
        return None if sources is None else Finding(f"{sources} sources")


def run_python(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment or None
    )
    assert done.returncode == 0, done.stderr
    return done


# As a stranger


def test_every_rule_of_the_policy_can_be_a_validator():
    assert rules() == [name for name in load_policy().rules() if name != "input.rate"]  # which is about no text


def test_a_stranger_uses_a_rule_in_a_guard_of_his_own():
    from guardrails import Guard

    guard = Guard().use(validator("input.length", on_fail="noop", max_chars=5), validator("output.citations", on_fail="fix"))
    outcome = guard.validate("It is so [9].", metadata={"sources": 2})
    assert outcome.validated_output == "It is so."
    failures = {summary.validator_name: summary for summary in outcome.validation_summaries}
    assert set(failures) == {"InputLength", "OutputCitations"}
    assert "5 are read at most" in failures["InputLength"].failure_reason
    assert [(span.start, span.end) for span in failures["OutputCitations"].error_spans] == [(9, 12)]
    assert guard.validate("Yes.", metadata={"sources": 2}).validation_passed


def test_without_on_fail_a_failure_is_an_exception_as_everywhere_in_the_library():
    from guardrails import Guard
    from guardrails.errors import ValidationError

    with pytest.raises(ValidationError, match="5 are read at most"):
        Guard().use(validator("input.length", max_chars=5)).validate("too long a text")


def test_a_fix_that_cannot_be_made_leaves_no_text():
    from guardrails import Guard

    too_long, after_it = validator("input.length", on_fail="fix", max_chars=5), validator("output.citations", on_fail="fix")
    guard = Guard().use(too_long, after_it)
    assert guard.validate("too long a text", metadata={"sources": 1}).validated_output is None


def test_a_threshold_lets_the_doubtful_pass():
    from guardrails import Guard

    doubtful = validator_class("output.markup")(0.9, "noop", rule=Shouts())
    assert Guard().use(doubtful).validate("LOUD").validation_passed
    sure = validator_class("output.markup")(0.8, "noop", rule=Shouts())
    assert not Guard().use(sure).validate("LOUD").validation_passed


def test_validators_are_registered_by_the_rules_name():
    from guardrails.validator_base import get_validator_class

    assert get_validator_class("course_guard/input.length") is validator_class("input.length")
    guard = validator("input.length", max_chars=7)
    assert guard.get_args() == {"threshold": 0.0, "max_chars": 7}


def test_an_unknown_rule_is_an_error():
    with pytest.raises(KeyError):
        validator("input.weather")
    with pytest.raises(KeyError):
        make_rule("input.weather")


def test_a_rule_for_both_directions_knows_which_it_is():
    assert make_rule("output.personal").name == "output.personal"
    assert make_rule("input.personal").name == "input.personal"


# How we use it


def test_findings_come_with_the_text_that_they_are_about():
    guard = RuleGuard([(Shouts(), 0.5, True), (make_rule("input.length", max_chars=3), 0.5, True)])
    text, noticed = guard.run("LOUD")
    assert text == "loud"
    assert [(item.rule, item.text) for item in noticed] == [("output.markup", "LOUD"), ("input.length", "loud")]


def test_rules_learn_what_they_ask_for():
    _, noticed = RuleGuard([(Counts(), 0.0, False)]).run("text", {"sources": 4})
    assert noticed[0].finding.reason == "4 sources"
    assert RuleGuard([(Counts(), 0.0, False)]).run("text")[1] == []


@pytest.mark.parametrize(
    "text", ["", " ", "[1, 2]", '{"a": 1}', "null", "12", "\x00", "\ud800", "{reason} {0} ${x}", "<b>&amp;</b>"]
)
def test_any_text_comes_back_as_it_was(text):
    assert RuleGuard([(make_rule("input.length", max_chars=99), 0.5, True)]).run(text) == (text, [])


def test_the_guard_forgets_every_text():
    guard = RuleGuard([(Shouts(), 0.5, True)])
    guard.run("MY SECRET")
    assert len(guard._guard.history) == 0


def test_a_broken_rule_is_not_taken_for_a_text_that_passed():
    guard = RuleGuard([(Fails(), 0.5, True)])
    with pytest.raises(RuntimeError, match="this rule is broken"):
        guard.run("MY SECRET")
    assert len(guard._guard.history) == 0


def test_many_threads_share_a_guard():
    guard = RuleGuard([(Shouts(), 0.5, True), (make_rule("input.length", max_chars=6), 0.5, False)])
    wrong = []

    def work(number):
        for _ in range(20):
            text, noticed = guard.run(f"A{number}")
            if (text, [item.text for item in noticed]) != (f"a{number}", [f"A{number}"]):
                wrong.append((number, text, noticed))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# What it must not do

WATCHED = """
import sys
def note(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.gethostbyname"):
        print("REACHED OUT", event, args, file=sys.stderr, flush=True)
        raise RuntimeError("no")
sys.addaudithook(note)
"""
USE = """
from guardrails import Guard
from course_guard.library import RuleGuard, make_rule, validator
guard = Guard().use(validator("input.length", on_fail="noop", max_chars=5))
assert not guard.validate("too long a text").validation_passed
assert Guard().use(validator("input.length", on_fail="noop", max_chars=5)).validate("ok").validation_passed
RuleGuard([(make_rule("input.length", max_chars=5), 0.5, True)]).run("too long a text")
"""


def test_no_socket_is_opened_without_any_switch_in_the_environment(tmp_path):
    done = run_python(WATCHED + USE, HOME=str(tmp_path), PATH="/usr/bin")
    assert "REACHED OUT" not in done.stderr


def test_nothing_imports_the_library_before_it_is_needed():
    code = (
        "import sys, course_guard.question, course_guard.answer, assistant.commands.guard\n"
        "print('guardrails' in sys.modules, 'langchain_core' in sys.modules)"
    )
    assert run_python(code).stdout.split() == ["False", "False"]


def test_the_grammar_of_addresses_waits_until_it_is_asked_for():
    code = (
        "import sys\n"
        "from course_guard.library import defer_iri_grammar\n"
        "defer_iri_grammar(); defer_iri_grammar()\n"
        "import jsonschema\n"
        "assert 'lark' not in sys.modules\n"
        "check = jsonschema.FormatChecker()\n"
        "print(check.conforms('http://é.example/', 'iri'), check.conforms('no address', 'iri'), 'lark' in sys.modules)\n"
        "import rfc3987_syntax\n"
        "print(rfc3987_syntax.is_valid_syntax_iri('http://é.example/'), rfc3987_syntax.__file__ is not None)\n"
    )
    assert run_python(code).stdout.split() == ["True", "False", "True", "True", "True"]


def test_without_that_grammar_nothing_is_put_in_its_place(monkeypatch):
    monkeypatch.setattr(library, "_IRI", "no_such_package")
    library.defer_iri_grammar()
    assert "no_such_package" not in sys.modules
