import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from finetune_course import WANTED, built, lesson_index, production, some

from assistant.prompts import NOT_COVERED, SYSTEM
from evals.cases import own_cases
from finetune.data.asked import plain_sentences, questions_with_answers
from finetune.data.build import SHARES, held_lessons
from finetune.data.cases import CASES, wordings, write_draft
from finetune.data.decontaminate import asks_a_case, clean, read_cases
from finetune.data.imitated import imitated
from finetune.data.pairs import of_samples
from finetune.data.production import Scene
from finetune.data.review import page, sampled
from finetune.data.reworded import reworded
from finetune.data.samples import EACH, FILE, TEMPERATURE, Sampler
from finetune.data.save import all_rows, file_of, reject, save
from finetune.rows import PAIRS_TRAIN, SFT_HELD, SFT_TRAIN, Pair, Row, read, read_manifest, read_rejected, write
from knowledge.errors import CourseError
from knowledge.passage import Passage
from knowledge.questions import FAR

TEXT = """A gizmo is a small machine that sorts letters by colour. It has 12 long arms. \
Gizmos were introduced by Ada Brown in 1931. The gizmo needs no electricity, because a spring drives it. \
Wear can be reduced by oiling the spring every year. \
It is loud, and the wear is high."""


def passage(text=TEXT, heading=("Gizmos", "How they work")):
    return Passage("p1", "d1", "s1", "gizmos.md", "Gizmos", heading, None, None, 0, len(text), text, 60)


def no_progress(*_):
    """Nobody looks."""


# Questions by rule


def test_questions_follow_from_what_a_sentence_says():
    made = {asked.question: asked.answer for asked in questions_with_answers([passage()])}
    first = "A gizmo is a small machine that sorts letters by colour. It has 12 long arms."
    assert {question for question in made if made[question] == first and "gizmo" in question} & {
        "What is a gizmo?", "Can you explain what a gizmo is?", "What, according to the course, is a gizmo?"
    }  # fmt: skip
    assert {"Who introduced Gizmos?", "By whom were Gizmos introduced?"} & made.keys()
    assert {"When were Gizmos introduced?", "In which year were Gizmos introduced?"} & made.keys()
    assert "How can wear be reduced?" in made
    assert not any(re.search(r"\b(is|does) (it|this)\b", question, re.IGNORECASE) for question in made if "And" not in question)


def test_every_answer_stands_word_for_word_in_its_passage():
    passages = lesson_index().catalogue.all_passages()
    made = questions_with_answers(passages)
    assert len(made) > 100
    for asked in made:
        text = " ".join(asked.passage.text.split())
        assert asked.answer.removeprefix(f"The lesson {asked.passage.title} explains {asked.subject}. ") in text
    assert made == questions_with_answers(passages)
    assert len({asked.key for asked in made}) == len(made)


def test_tables_code_and_lists_are_no_sentences():
    text = "| a gizmo | is a machine of some sort. |\n\n- A gizmo is nice\n\n```\nA gizmo is a machine.\n```\n\n"
    text += "A gizmo is a machine here."
    assert plain_sentences(passage(text)) == ["A gizmo is a machine here."]


# Rows


def test_there_are_rows_of_every_kind():
    kinds = {one.row.kind for one in built()[1]}
    assert kinds == set(SHARES)
    for kind, share in SHARES.items():
        assert sum(one.row.kind == kind for one in built()[1]) <= round(share * WANTED.rows)


def test_the_prompt_is_that_of_production_and_holds_what_supports_the_answer():
    for one in built()[1]:
        row = one.row
        assert row.prompt[0]["role"] == "system" and row.prompt[0]["content"].startswith(SYSTEM)
        assert row.prompt[-1]["content"].endswith(one.asked.question)
        if row.kind != "removed":
            read_by_model = row.prompt[0]["content"] + row.prompt[-1]["content"]
            assert all(item["quote"] in read_by_model for item in row.evidence)
            assert row.evidence and all(item["support"] >= 0.62 for item in row.evidence)


def test_where_the_answer_is_gone_the_model_declines():
    rows = [one for one in built()[1] if one.row.kind == "removed"]
    assert len(rows) >= 3
    for one in rows:
        assert one.row.completion == NOT_COVERED
        assert one.asked.answer not in str(one.row.prompt)
        assert len(one.row.prompt[0]["content"]) > len(SYSTEM) + 50  # there are distractors
        assert all("left_out" in item for item in one.row.evidence)


def test_a_contradiction_says_that_nobody_has_checked_it_and_is_not_believed():
    one = some("contradicted")
    planted = one.scene.planted.passage
    assert planted.text in one.row.prompt[0]["content"] + one.row.prompt[-1]["content"]
    assert re.search("not checked|withdrawn", planted.title)
    assert planted.text != one.asked.answer == one.row.completion
    assert one.asked.passage.id in one.judged.cited and planted.id not in one.judged.cited


def test_a_follow_up_has_the_conversation_before_it():
    one = some("follow_up")
    roles = [message["role"] for message in one.row.prompt]
    assert roles == ["system", "user", "assistant", "user"]
    assert one.row.prompt[2]["content"] == one.asked.follows.answer


def test_held_out_lessons_are_fixed_by_seed_and_stand_in_no_prompt_that_is_trained_on():
    course, made, pairs = built()
    sources = [f"{n}.md" for n in range(10)]
    assert held_lessons(sources, 1, 0.2) == held_lessons(sources[::-1], 1, 0.2) != held_lessons(sources, 2, 0.2)
    assert len(held_lessons(sources, 1, 0.2)) == 2 and held_lessons(["a"], 0, 0.5) == frozenset()
    held = [p for p in lesson_index().catalogue.all_passages() if p.source in course.held]
    sentences = {sentence for p in held for sentence in plain_sentences(p)}
    for row in (*(one.row for one in made), *pairs):
        if row.lesson not in course.held:
            assert not any(sentence in message["content"] for message in row.prompt for sentence in sentences)


# Pairs


def test_as_many_pairs_answer_as_decline_and_the_worse_answer_is_worse():
    pairs = built()[2]
    answers, refusals = ([pair for pair in pairs if pair.kind == kind] for kind in ("answer", "refusal"))
    assert len(answers) == len(refusals) >= 3
    assert all(pair.chosen == NOT_COVERED != pair.rejected for pair in refusals)
    for pair in answers:
        assert pair.chosen not in (NOT_COVERED, pair.rejected) and pair.evidence["why"]
        assert pair.rejected == NOT_COVERED or any("left_out" in item for item in pair.evidence["rejected"])


def test_samples_are_judged_by_support_and_citation():
    one = some("oracle")
    good, bad = one.asked.answer, "Bananas were invented in 1776 by seven astronauts."
    pair = of_samples(production(), one, [bad, good, NOT_COVERED, bad], "m")
    assert (pair.chosen, pair.rejected, pair.kind, pair.origin.made_by) == (good, bad, "answer", "m")
    assert of_samples(production(), one, [good, good], "m") is None
    declined = of_samples(production(), one, [NOT_COVERED], "m")
    assert (declined.chosen, declined.rejected) == (good, NOT_COVERED)  # nothing good was sampled: the course's own words
    gone = some("removed")
    pair = of_samples(production(), gone, [NOT_COVERED, bad], "m")
    assert (pair.kind, pair.chosen, pair.rejected) == ("refusal", NOT_COVERED, bad)
    assert of_samples(production(), gone, [NOT_COVERED], "m") is None


class _Samples:
    """A model that says how it was asked, and is interrupted at a given sample."""

    def __init__(self, breaks_at=None):
        self.asked, self.breaks_at = [], breaks_at

    def stream(self, messages, **options):
        if len(self.asked) == self.breaks_at:
            raise KeyboardInterrupt
        self.asked.append(options)
        yield type("Chunk", (), {"content": f"{messages[-1].content} {options['seed']}"})()


def test_sampling_goes_on_where_it_was_interrupted(tmp_path):
    prompt = ({"role": "user", "content": "Why?"},)
    with pytest.raises(KeyboardInterrupt):
        Sampler(tmp_path, _Samples(breaks_at=2), "m", 50).texts(prompt, no_progress)
    with (tmp_path / FILE).open("a") as file:
        file.write('{"key": "half a li')
    model = _Samples()
    assert Sampler(tmp_path, model, "m", 50).texts(prompt, no_progress) == [f"Why? {n}" for n in range(EACH)]
    assert [options["seed"] for options in model.asked] == [2, 3]
    assert all(options["temperature"] == TEMPERATURE and options["max_tokens"] == 50 for options in model.asked)
    again = _Samples()
    assert len(Sampler(tmp_path, again, "m", 50).texts(prompt, no_progress)) == EACH and not again.asked
    other = _Samples()
    Sampler(tmp_path, other, "another model", 50).texts(prompt, no_progress)
    assert len(other.asked) == EACH


# Clean of tests


def test_rows_that_ask_or_say_what_a_case_does_are_left_out(tmp_path):
    cases = read_cases()
    line = json.loads(next(iter((Path(__file__).parents[1] / "evals/cases/starter.jsonl").open(encoding="utf-8"))))
    row = some("oracle").row
    asks = replace(row, id="asks", prompt=({"role": "user", "content": f"Before.\n\n{line['question'].upper()}"},))
    says = replace(row, id="says", completion=f"{line['evidence']} And more.")
    stay, why = clean([row, asks, says], cases, None, no_progress)
    assert stay == {row.id}
    assert why == {"asks what a case of evals/cases asks": 1, "says what a case of evals/cases rests on": 1}
    assert not asks_a_case("How many legs has a spider?", cases)


def test_rows_of_public_test_sets_are_left_out(tmp_path):
    cases = read_cases()
    one, two, three = (some("oracle", number).row for number in range(3))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.jsonl").write_text(json.dumps({"x": [{"text": f"so {one.completion} there"}]}) + "\n{broken\n")
    (tmp_path / "b.csv").write_text(f'id,question\n1,"{two.prompt[-1]["content"].rpartition(chr(10))[2]}"\n')
    stay, why = clean([one, two, three], cases, tmp_path, no_progress)
    assert (stay, why) == ({three.id}, {"stands in a public test set": 2})
    with pytest.raises(CourseError, match="no folder"):
        clean([one], cases, tmp_path / "nowhere", no_progress)


# Files


@pytest.fixture
def folder(tmp_path):
    course, made, pairs = built()
    rows = [*(one.row for one in made), *pairs]
    save(tmp_path, rows, course.held, read_cases(), WANTED, {"questions": 1}, no_progress)
    return tmp_path


def test_rows_come_back_as_they_were_written(folder):
    course, made, pairs = built()
    files = all_rows(folder)
    assert files[SFT_TRAIN] == [one.row for one in made if one.row.lesson not in course.held]
    assert files[SFT_HELD] == [one.row for one in made if one.row.lesson in course.held]
    assert {pair.id for name in files for pair in files[name] if isinstance(pair, Pair)} == {pair.id for pair in pairs}
    manifest = read_manifest(folder)
    assert manifest["held_lessons"] == sorted(course.held)
    assert sum(manifest["counts"][SFT_TRAIN].values()) == len(files[SFT_TRAIN])
    assert all(file_of(row, course.held) == name for name in files for row in files[name])


def test_questions_for_a_trial_are_drafted_from_held_out_lessons(folder):
    own = [case for case, _ in own_cases(folder / CASES)]  # what `lectern eval --cases` reads
    assert len(own) == read_manifest(folder)["trial_cases"]
    covered = [case for case in own if case.answerable]
    assert len(covered) >= 5
    assert {case.lesson for case in covered} <= built()[0].held
    assert len(own) - len(covered) == len(FAR)
    for case in covered:
        assert case.is_right(case.evidence)
        assert not case.is_right(case.question)
        assert says(case.evidence, case.lesson)


def says(evidence, lesson):
    info = next(info for info in lesson_index().sources() if info.source == lesson)
    return " ".join(evidence.split()) in " ".join(lesson_index().document(info.document_id).text.split())


@pytest.mark.parametrize(
    ("question", "sentence", "found"),
    [
        ("What does a norm do?", "A norm measures the length of a vector.", []),
        (
            "When was CART published?",
            "CART was published by Breiman in 1984 and makes binary splits.",
            ["1984", "makes binary splits"],
        ),
        (
            "What is pruning?",
            "Pruning removes leaves, small subtrees and weak rules.",
            ["removes leaves", "small subtrees", "weak rules"],
        ),
        ("What is a leaf?", "A leaf ends.", []),
    ],
)
def test_what_an_answer_must_say_is_new_and_more_than_a_word(question, sentence, found):
    assert list(wordings(question, sentence)) == found


def test_without_rows_there_is_nothing_to_ask(tmp_path):
    assert write_draft(tmp_path) == 0
    assert (tmp_path / CASES).read_text() == ""


def test_damaged_rows_are_named(folder):
    (folder / SFT_TRAIN).write_text('{"id": "x"}\n')
    with pytest.raises(CourseError, match="sft.train.jsonl, line 1"):
        read(folder / SFT_TRAIN, Row)
    with pytest.raises(CourseError, match="lectern finetune data"):
        read_manifest(folder / "nowhere")


def test_a_full_disk_leaves_the_old_rows(folder, monkeypatch):
    before = (folder / SFT_TRAIN).read_bytes()

    def full(self, *_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(CourseError, match="No space left"):
        write(folder / SFT_TRAIN, [])
    monkeypatch.undo()
    assert (folder / SFT_TRAIN).read_bytes() == before
    assert {path.suffix for path in folder.iterdir()} == {".jsonl", ".json"}


def test_rejected_rows_stay_rejected(folder):
    course, made, pairs = built()
    row, pair = all_rows(folder)[SFT_TRAIN][0], all_rows(folder)[PAIRS_TRAIN][0]
    assert reject(folder, [row.id[:10], pair.id]) == [row.id, pair.id]
    rows = [*(one.row for one in made), *pairs]
    for _ in range(2):
        files = all_rows(folder)
        assert row not in files[SFT_TRAIN] and pair not in files[PAIRS_TRAIN]
        assert len(files[SFT_TRAIN]) == sum(read_manifest(folder)["counts"][SFT_TRAIN].values())
        assert read_rejected(folder) == [row, pair]
        save(folder, rows, course.held, read_cases(), WANTED, {}, no_progress)
    with pytest.raises(CourseError, match="No rows"):
        reject(folder, ["nothing"])


def test_the_page_shows_samples_with_their_evidence_and_what_was_rejected(folder):
    row = all_rows(folder)[SFT_TRAIN][0]
    reject(folder, [row.id])
    bad = replace(row, id="evil", completion="<script>alert(1)</script>")
    groups = sampled(all_rows(folder), None, 2)
    html = page({**groups, "evil": [bad]}, read_rejected(folder))
    assert not re.search(r"(?:src|href)=[\"'](?!#)|https?://|@import", html)
    assert "color-scheme: light dark" in html
    assert "<script>alert(1)" not in html and "&lt;script&gt;alert(1)" in html
    rejected = html.partition(">Rejected</h2>")[2]
    assert row.id in rejected and f'value="{row.id}"' not in html
    assert all(len(rows) <= 2 for rows in groups.values()) and len(groups) >= 7
    assert list(sampled(all_rows(folder), "removed", 1)) == [title for title in groups if title.startswith("removed")]


def test_a_question_that_the_search_would_not_answer_has_no_prompt():
    judged = production().judge("Where can I park near the lecture hall?", "Behind it.", Scene())
    assert judged.prompt == () and not judged.is_grounded and not judged.is_read


def test_few_declined_rows_are_imitated_and_none_of_a_style_that_is_seldom_answered():
    answers, declines = some("oracle"), some("removed")

    def ask(one, how):
        return replace(one, asked=replace(one.asked, how=how))

    made = [ask(answers, "who")] * 9 + [ask(declines, "who")] * 4 + [ask(answers, "why")] * 3 + [ask(declines, "why")]
    found = imitated(made)
    assert [(one.row.kind, one.asked.how) for one in found] == [
        *[("oracle", "who")] * 9, *[("removed", "who")] * 2, *[("oracle", "why")] * 3,
    ]  # fmt: skip


class Answers:
    """Speaks Sampler: gives each prompt its answer."""

    def __init__(self, **by_kind):
        self.by_kind, self.asked = by_kind, []

    def text(self, prompt, max_tokens):
        self.asked.append(prompt)
        one = next(one for one in built()[1] if one.row.prompt == prompt)
        return self.by_kind["text"](one)


def reword(text, count=1000, skip=frozenset(), held=frozenset()):
    told = []
    found = reworded(production(), built()[1], Answers(text=text), "m", count, held, skip, lambda *what: told.append(what))
    return found, told


def test_a_supported_answer_of_the_model_takes_the_place_of_the_courses_sentences():
    rows = built()[1]
    found, told = reword(lambda one: f"{one.row.completion} [1]")
    assert len(found) == len(rows)
    changed = [(old.row, new.row) for old, new in zip(rows, found, strict=True) if old.row is not new.row]
    assert len(changed) > len(rows) / 3 and told[-1][1] == told[-1][2]
    assert all(new.origin.made_by == "m" and new.kind == old.kind and new.prompt == old.prompt for old, new in changed)
    assert all("[1]" not in new.completion and new.evidence for _, new in changed)


@pytest.mark.parametrize(
    "text", ["The moon is made of green cheese.", NOT_COVERED, ""], ids=["unsupported", "declined", "nothing"]
)
def test_where_the_model_answers_badly_the_courses_sentences_stay(text):
    found, _ = reword(lambda one: text)
    assert found == built()[1]


def test_an_answer_without_what_was_asked_for_is_not_taken():
    whole = some("oracle")
    first = whole.row.completion.split(". ")[0].rstrip(".") + "."
    asked = replace(whole, asked=replace(whole.asked, detail="Ada Brown"))
    sampler = Answers(text=lambda one: first)
    assert reworded(production(), [asked], sampler, "m", 1, frozenset(), frozenset(), lambda *_: None) == [asked]


def test_no_answer_is_asked_for_that_is_not_trained_on():
    held = {built()[1][0].row.lesson}
    found, told = reword(lambda one: f"{one.row.completion} [1]", held=held)
    new = {new.row.lesson for old, new in zip(built()[1], found, strict=True) if old.row is not new.row}
    assert new and not new & held
    assert told[-1][2] == sum(one.row.kind != "removed" and one.row.lesson not in held for one in built()[1])


def test_only_as_many_are_asked_as_were_wanted_and_none_that_are_declined_or_rejected():
    found, told = reword(lambda one: f"{one.row.completion} [1]", count=2)
    new = [new for old, new in zip(built()[1], found, strict=True) if old.row is not new.row]
    assert len(told) == 2 and len(new) <= 2
    again, _ = reword(lambda one: f"{one.row.completion} [1]", count=2, skip=frozenset(one.row.id for one in new))
    assert again == built()[1]
