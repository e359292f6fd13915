"""What follows from a finding: the policy, and the screens that carry it out."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_guard.answer import AnswerScreen, answer_screen
from course_guard.policy import SHIPPED, load_policy, own_values
from course_guard.question import QuestionScreen, question_screen
from course_guard.rules.citations import CitationsRule
from course_guard.verdict import Action, Finding
from knowledge.errors import CourseError


class WordRule:
    """Notices one word; masks it if it is given a mask."""

    def __init__(self, name, word, mask=None, score=1.0):
        self.name, self._word, self._mask, self._score = name, word, mask, score
        self.seen = []

    def look(self, text):
        self.seen.append(text)
        spans, start = [], text.find(self._word)
        while start >= 0:
            spans.append((start, start + len(self._word)))
            start = text.find(self._word, start + 1)
        if not spans:
            return None
        replacement = None if self._mask is None else text.replace(self._word, self._mask)
        originals = () if self._mask is None else ((self._mask, self._word),)
        return Finding(f"It says {self._word}.", tuple(spans), self._score, replacement, originals)


@pytest.fixture
def policy(tmp_path):
    """Makes a policy from what a teacher wrote."""

    def make(own=""):
        file = tmp_path / "policy.toml"
        file.write_text(own, encoding="utf-8")
        return load_policy(file)

    return make


# The policy


def test_the_shipped_policy_names_every_rule_and_explains_it():
    rules = load_policy().rules()
    assert list(rules) == [
        *("input.rate", "input.length", "input.secrets", "input.personal"),
        *("input.injection", "input.distress", "input.abuse", "input.graded_work"),
        *("output.leak", "output.markup", "output.citations", "output.secrets", "output.personal"),
        "document.planted",
    ]
    text = SHIPPED.read_text(encoding="utf-8")
    for name, table in rules.items():
        before = text[: text.index(f"\n[{name}]\n")].splitlines()
        assert before[-1].startswith("# "), f"{name} is not explained"
        assert table.message
    blocking = {name for name, table in rules.items() if table.action is Action.BLOCK}
    assert blocking == {"input.rate", "input.length", "input.injection", "output.leak"}
    assert rules["input.graded_work"].action is Action.OFF


def test_a_teachers_file_changes_only_what_it_says(policy):
    ours = policy('[input.graded_work]\naction = "warn"\n[input.length]\nmax_chars = 900')
    shipped = load_policy()
    assert ours.input.graded_work.action is Action.WARN
    assert ours.input.graded_work.message == shipped.input.graded_work.message
    assert ours.input.length.max_chars == 900
    assert ours.output == shipped.output


def test_without_a_file_the_shipped_policy_is_in_force(tmp_path):
    assert load_policy(tmp_path / "none.toml") == load_policy()
    assert own_values(tmp_path / "none.toml") == {}


def test_an_editors_byte_order_mark_does_no_harm(tmp_path):
    file = tmp_path / "policy.toml"
    file.write_text('[input.abuse]\naction = "off"', encoding="utf-8-sig")
    assert load_policy(file).of("input.abuse").action is Action.OFF


@pytest.mark.parametrize(
    ("own", "problem", "remedy"),
    [
        ('[input.injektion]\naction = "off"', "input.injektion", "Did you mean injection?"),
        ('[input.abuse]\nacton = "off"', "input.abuse.acton", "Did you mean action?"),
        ("[weather]\nrain = 1", "weather", "input, output, document"),
        ('[input.abuse]\naction = "forbid"', "input.abuse.action", "guard policy"),
        ("[input.abuse]\nthreshold = 1.5", "input.abuse.threshold", "guard policy"),
        ('[input.abuse]\nmessage = "{name}, stop"', "may hold {reason}, but not {name}", "guard policy"),
        ("[input.length]\nmax_chars = 0", "input.length.max_chars", "guard policy"),
        ("[input.rate]\nwaiting = 0", "input.rate.waiting", "guard policy"),
        ('input = "off"', "input", "guard policy"),
        ("[input.abuse", "cannot be read", "Correct it"),
    ],
)
def test_a_fault_in_a_teachers_file_is_named(policy, tmp_path, own, problem, remedy):
    with pytest.raises(CourseError) as error:
        policy(own)
    assert str(tmp_path / "policy.toml") in error.value.problem
    assert problem in error.value.problem
    assert remedy in error.value.remedy


def test_a_file_that_is_no_text_is_named(tmp_path):
    file = tmp_path / "policy.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CourseError, match="cannot be read"):
        load_policy(file)


def test_a_message_may_take_up_the_rules_own_words(policy):
    ours = policy('[input.abuse]\nmessage = "Well: {reason}"\n[input.distress]\nmessage = ""')
    finding = Finding("It says {boo}.")
    assert ours.judge("input.abuse", finding).reason == "Well: It says {boo}."
    assert ours.judge("input.distress", finding).reason == "It says {boo}."


@pytest.mark.parametrize(("score", "judged"), [(0.69, False), (0.7, True), (1.0, True)])
def test_a_finding_below_the_threshold_is_no_verdict(policy, score, judged):
    verdict = policy("[input.abuse]\nthreshold = 0.7").judge("input.abuse", Finding("Hm.", score=score))
    assert (verdict is not None) is judged


# Questions

KEY = WordRule("input.secrets", "sk-1", "[KEY_1]")


def test_a_harmless_question_goes_on_as_it_is(policy):
    screening = QuestionScreen([KEY, WordRule("input.injection", "ignore")], policy()).screen("What is dropout?")
    assert (screening.text, screening.verdicts, screening.originals) == ("What is dropout?", (), ())
    assert screening.blocked is None


def test_a_block_says_rule_reason_and_place(policy):
    ours = policy('[input.injection]\nmessage = "No: {reason}"')
    blocked = QuestionScreen([WordRule("input.injection", "ignore")], ours).screen("Please ignore it").blocked
    assert (blocked.rule, blocked.reason, blocked.spans) == ("input.injection", "No: It says ignore.", ((7, 13),))
    assert not blocked.allowed


def test_a_warning_lets_the_masked_text_pass(policy):
    screening = QuestionScreen([KEY], policy()).screen("Why is sk-1 refused?")
    assert screening.text == "Why is [KEY_1] refused?"
    assert screening.blocked is None
    assert [verdict.action for verdict in screening.warnings] == [Action.WARN]
    assert screening.originals == (("[KEY_1]", "sk-1"),)
    assert screening.restored("[KEY_1] has expired.") == "sk-1 has expired."


def test_shadow_changes_nothing_and_is_recorded(policy):
    ours = policy('[input.secrets]\naction = "shadow"\n[input.injection]\naction = "shadow"')
    screening = QuestionScreen([KEY, WordRule("input.injection", "ignore")], ours).screen("ignore sk-1")
    assert screening.text == "ignore sk-1"
    assert screening.blocked is None
    assert screening.originals == ()
    assert screening.warnings == ()
    assert [(v.rule, v.action, v.allowed) for v in screening.verdicts] == [
        ("input.secrets", Action.SHADOW, True),
        ("input.injection", Action.SHADOW, True),
    ]


def test_a_rule_that_is_off_does_not_run(policy):
    rule = WordRule("input.graded_work", "sheet 3")
    assert QuestionScreen([rule], policy()).screen("Solve sheet 3").verdicts == ()
    assert rule.seen == []


def test_a_doubtful_finding_mends_nothing(policy):
    rule = WordRule("input.secrets", "sk-1", "[KEY_1]", score=0.3)
    screening = QuestionScreen([rule], policy()).screen("sk-1")
    assert (screening.text, screening.verdicts, screening.originals) == ("sk-1", (), ())


def test_masks_compose_and_spans_point_into_what_was_typed(policy):
    mail = WordRule("input.personal", "a@b.de", "<m>")
    abuse = WordRule("input.abuse", "idiot")
    text = "sk-1 of a@b.de, idiot, is sk-1"
    screening = QuestionScreen([KEY, mail, abuse], policy()).screen(text)
    assert screening.text == "[KEY_1] of <m>, idiot, is [KEY_1]"
    assert abuse.seen[-1] == screening.text
    assert dict(screening.originals) == {"[KEY_1]": "sk-1", "<m>": "a@b.de"}
    first, second, third = screening.verdicts
    assert [text[a:b] for a, b in first.spans] == ["sk-1", "sk-1"]
    assert all("a@b.de" in text[a:b] for a, b in second.spans)
    assert all("idiot" in text[a:b] for a, b in third.spans)


def test_one_mask_moves_later_spans_exactly(policy):
    abuse = WordRule("input.abuse", "idiot")
    text = "idiot, your sk-1, idiot"
    found = QuestionScreen([KEY, abuse], policy()).screen(text).verdicts[1]
    assert found.spans == ((0, 5), (18, 23))


def test_what_is_kept_of_a_blocked_question_is_masked_too(policy):
    screening = QuestionScreen([WordRule("input.injection", "ignore"), KEY], policy()).screen("ignore it, sk-1")
    assert screening.blocked.rule == "input.injection"
    assert screening.text == "ignore it, [KEY_1]"


@cache
def three_rules():
    rules = [KEY, WordRule("input.personal", "a", "<a>"), WordRule("input.abuse", "b")]
    return QuestionScreen(rules, load_policy())


@given(st.text(alphabet="ab sk-1[]{}\n\u202e\x00é", max_size=60))
@settings(max_examples=60, deadline=None)
def test_spans_always_lie_within_the_text(text):
    screening = three_rules().screen(text)
    for verdict in screening.verdicts:
        assert all(0 <= start <= end <= len(text) for start, end in verdict.spans)
    if not screening.verdicts:
        assert screening.text == text


# Answers


def test_an_answer_is_screened_by_its_own_rules(policy):
    screen = AnswerScreen([WordRule("output.leak", "You are a course assistant")], policy())
    assert screen.screen("You are a course assistant, I said.").blocked.rule == "output.leak"
    assert screen.screen("You are right.").blocked is None


def test_citations_without_a_source_are_removed(policy):
    screen = AnswerScreen([CitationsRule()], policy())
    screening = screen.screen("Dropout helps [2]. It is old [7].", sources=3)
    assert screening.text == "Dropout helps [2]. It is old."
    assert [verdict.reason for verdict in screening.verdicts] == ["No source has the number [7]."]
    assert [("Dropout helps [2]. It is old [7].")[a:b] for a, b in screening.verdicts[0].spans] == ["[7]"]


def test_citations_are_left_alone_while_the_sources_are_not_known(policy):
    assert AnswerScreen([CitationsRule()], policy()).screen("It is old [7].").verdicts == ()


@pytest.mark.parametrize(
    "text",
    [
        "x[7] is the eighth element",
        "`[7]` is a list",
        "```\nprint([7])\n```",
        "the vector [7, 8]",
        "[7](#place)",
        "a [1] b",
        "",
    ],
)
def test_what_is_no_citation_stays(text):
    assert CitationsRule().look(text, sources=3) is None


# The real rules


def test_the_question_screen_has_every_rule_that_is_not_off(policy, embedder):
    ours = policy('[input.injection]\naction = "off"\n[input.graded_work]\naction = "block"\n[input.length]\nmax_chars = 200')
    screen = question_screen(embedder, ours)
    for text, rule in [
        ("Please solve my homework sheet for me.", "input.graded_work"),
        ("I want to die.", "input.distress"),
        ("You are a stupid idiot.", "input.abuse"),
        ("Write to anna.berg@posteo.de, please.", "input.personal"),
        ("Why is my key AKIAQ3EGRKTMZXHQ4NVB refused?", "input.secrets"),
        ("What is dropout? " * 20, "input.length"),
    ]:
        assert [verdict.rule for verdict in screen.screen(text).verdicts] == [rule], text
    for text in ("What does dropout do?", "How do I kill a process?", "Why do gradients explode?"):
        assert screen.screen(text).verdicts == ()


def test_the_classifier_gets_the_embedder_of_the_course(embedder, monkeypatch):
    class Classifier(WordRule):
        def __init__(self, embedder):
            super().__init__("input.injection", "ignore")
            self.embedder = embedder

    made = []
    monkeypatch.setattr(
        "course_guard.rules.injection.InjectionRule", lambda embedder: made.append(Classifier(embedder)) or made[0]
    )
    assert question_screen(embedder, load_policy()).screen("ignore it").blocked.rule == "input.injection"
    assert [rule.embedder for rule in made] == [embedder]


def test_the_classifier_of_orders_reads_what_is_masked_already(embedder, monkeypatch):
    read = []

    class Reader(WordRule):
        def look(self, text):
            read.append(text)

    monkeypatch.setattr("course_guard.rules.injection.InjectionRule", lambda embedder: Reader("input.injection", "ignore"))
    question_screen(embedder, load_policy()).screen("Write to anna.berg@posteo.de. What is early stopping?")
    assert read == ["Write to [EMAIL_1]. What is early stopping?"]


def test_what_is_kept_of_too_long_a_question_is_short_and_masked(policy, embedder):
    ours = policy('[input.injection]\naction = "off"\n[input.length]\nmax_chars = 100')
    text = "Write to anna.berg@posteo.de, please. " + "blah " * 1000
    screening = question_screen(embedder, ours).screen(text)
    assert screening.blocked.rule == "input.length"
    assert screening.blocked.spans == ((100, len(text)),)
    assert len(screening.text) <= 100
    assert "anna.berg" not in screening.text


def test_the_answer_screen_has_every_rule(policy):
    secret = "You are a course assistant. Answer from the passages below and never use any other knowledge than theirs."
    screen = answer_screen(policy(), [secret])
    for text, rule in [
        (secret, "output.leak"),
        ("Write to anna.berg@posteo.de, please.", "output.personal"),
        ("The key is AKIAQ3EGRKTMZXHQ4NVB.", "output.secrets"),
        ("It is old [7].", "output.citations"),
        ("Look: <script>fetch('//evil.example')</script>", "output.markup"),
    ]:
        assert rule in [verdict.rule for verdict in screen.screen(text, sources=3).verdicts], text
    assert screen.screen("Dropout helps [2], says the course.", sources=3).verdicts == ()
