"""Twenty thumbs in a real browser, on answers of a real model about real lessons, become rows that can be looked at."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from test_browser import ask, chromium, free_url, wait_for, window

import knowledge.course
from assistant.models import model_path
from finetune.data.asked import Asked, questions_with_answers
from finetune.data.decontaminate import asks_a_case, read_cases, says_a_case
from knowledge.embedding import SentenceEmbedder
from knowledge.errors import MissingModel
from knowledge.index import CourseIndex

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.browser, pytest.mark.model]
__all__ = ["chromium"]  # a fixture

MODEL = "smollm2-135m-instruct"
LESSONS = ("12", "31", "35")
COMMAND = [sys.executable, "-c", "from assistant.cli import main; main()"]


def judge(page: "playwright.Page", up: bool, comment: str) -> None:
    """A thumb under the newest answer, with words."""
    side = "positive" if up else "negative"
    page.locator(f".{side}-feedback-off").last.click()
    page.fill("[role=dialog] textarea", comment)
    page.click("#submit-feedback")
    page.locator(f".{side}-feedback-on").last.wait_for()


def answerable(index: CourseIndex) -> list[Asked]:
    """Twenty questions whose answers stand in the course, none hanging on another, nor near to what a case tests."""
    cases = read_cases()
    found = [
        each
        for each in questions_with_answers(index.catalogue.all_passages())
        if not each.follows and not asks_a_case(each.question, cases) and not says_a_case([each.answer], cases)
    ]
    return random.Random(5).sample(found, 20)


def test_twenty_thumbs_become_rows_with_their_evidence(chromium: "playwright.Browser", tmp_path: Path) -> None:
    try:
        weights = model_path(MODEL), model_path("all-minilm-l6-v2")
    except MissingModel as error:
        pytest.skip(f"{error} {error.remedy}")
    environment = os.environ | {
        "LECTERN_DATA_DIR": str(tmp_path),
        "LECTERN_MODELS_DIR": str(weights[0].parent.parent),
        "LECTERN_MODEL__NAME": MODEL,
        "LECTERN_ENGINE__WARM": "0",
        "LECTERN_ANSWER__MAX_TOKENS": "48",
        "LECTERN_ANSWER__SECOND_TRY": "1",
    }

    def lectern(*arguments: str) -> str:
        done = subprocess.run([*COMMAND, *arguments], env=environment, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, f"{arguments}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    lessons = Path(next(iter(knowledge.course.__path__)))
    lectern("ingest", *(str(path) for path in sorted(lessons.glob("*.md")) if path.name[:2] in LESSONS))
    questions = answerable(CourseIndex(tmp_path / "index", SentenceEmbedder(weights[1])))
    url = free_url()
    with subprocess.Popen([*COMMAND, "serve", "--port", url.rsplit(":", 1)[1]], env=environment) as process:
        try:
            wait_for(url)
            with window(chromium) as page:
                page.set_default_timeout(120_000)
                page.goto(url)
                page.locator(".lectern-welcome .starters button").first.wait_for()
                page.click("#chat-settings-open-modal")
                page.locator("#chat-settings [role=switch]#consent").click()
                page.locator("#chat-settings #confirm").click()
                for number, each in enumerate(questions):
                    ask(page, each.question)
                    up = number % 2 == 0
                    judge(page, up, "clear" if up else each.answer)
        finally:
            process.terminate()
            assert process.wait(60) is not None

    told = lectern("finetune", "data", "--rows", "20", "--pairs", "0")
    folder = tmp_path / "finetune" / "data"
    names = ("pairs.train.jsonl", "pairs.held.jsonl", "thumbs.jsonl", "thumbs.held.jsonl")
    rows = [json.loads(line) for name in names for line in (folder / name).read_text(encoding="utf-8").splitlines()]
    corrected = {each.answer: each.question for each in questions[1::2]}
    pairs = [row for row in rows if "chosen" in row]
    assert len(pairs) >= 7, told
    for pair in pairs:
        assert corrected[pair["chosen"]] in pair["prompt"][-1]["content"]
        assert pair["rejected"] != pair["chosen"]
        assert pair["evidence"]["why"] and pair["evidence"]["chosen"][0]["quote"]
    judged = [row["origin"]["turns"][0] for row in rows]  # behind it those that it hangs on
    assert len(set(judged)) == len(judged) >= 14, told

    page_file = tmp_path / "rows.html"
    lectern("finetune", "rows", "--kind", "thumb", "--html", str(page_file))
    with window(chromium) as page:
        page.route("**/*", lambda route: route.continue_())
        page.goto(page_file.as_uri())
        shown = page.locator("body").inner_text()
        assert pairs[0]["chosen"][:60] in shown and pairs[0]["id"] in shown
