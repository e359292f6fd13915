"""A running chat in a real browser, a real model, real lessons: thumbs become rows, and a promotion is taken back."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from test_browser import ask, chromium, free_url, wait_for, window

import knowledge.course
from assistant.adapters import current_id, find_adapter
from assistant.models import model_path
from assistant.settings import Settings
from finetune.adapters import promote
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


@dataclass
class Chat:
    """A chat that runs.

    Attributes:
        lectern: runs a command on the same data; returns what it printed.
        data: its folder.
    """

    lectern: Callable[..., str]
    url: str
    data: Path
    weights: tuple[Path, Path]


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chat]:
    try:
        weights = model_path(MODEL), model_path("all-minilm-l6-v2")
    except MissingModel as error:
        pytest.skip(f"{error} {error.remedy}")
    data = tmp_path_factory.mktemp("chat")
    environment = os.environ | {
        "LECTERN_DATA_DIR": str(data),
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
    url = free_url()
    with subprocess.Popen([*COMMAND, "serve", "--port", url.rsplit(":", 1)[1]], env=environment) as process:
        try:
            wait_for(url)
            yield Chat(lectern, url, data, weights)
        finally:
            process.terminate()
            assert process.wait(60) is not None


def come_in(page: "playwright.Page", chat: Chat) -> None:
    page.set_default_timeout(120_000)
    page.goto(chat.url)
    page.locator(".lectern-welcome .starters button").first.wait_for()


def test_twenty_thumbs_become_rows_with_their_evidence(chromium: "playwright.Browser", chat: Chat, tmp_path: Path) -> None:
    questions = answerable(CourseIndex(chat.data / "index", SentenceEmbedder(chat.weights[1])))
    with window(chromium) as page:
        come_in(page, chat)
        page.click("#chat-settings-open-modal")
        page.locator("#chat-settings [role=switch]#consent").click()
        page.locator("#chat-settings #confirm").click()
        for number, each in enumerate(questions):
            ask(page, each.question)
            up = number % 2 == 0
            judge(page, up, "clear" if up else each.answer)

    told = chat.lectern("finetune", "data", "--rows", "20", "--pairs", "0")
    folder = chat.data / "finetune" / "data"
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
    chat.lectern("finetune", "rows", "--kind", "thumb", "--html", str(page_file))
    with window(chromium) as page:
        page.route("**/*", lambda route: route.continue_())
        page.goto(page_file.as_uri())
        shown = page.locator("body").inner_text()
        assert pairs[0]["chosen"][:60] in shown and pairs[0]["id"] in shown


def test_a_promotion_and_its_rollback_reach_the_running_chat(chromium: "playwright.Browser", chat: Chat) -> None:
    chat.lectern("finetune", "data", "--rows", "20", "--pairs", "0")
    quick = [f"sft.{each}" for each in ("batch=1", "held=0", "warmup=0", "max_length=900")]
    changes = [part for each in quick for part in ("--set", each)]
    chat.lectern("finetune", "sft", "--model", MODEL, "--steps", "1", *changes)
    chat.lectern("finetune", "export", "sft-1", "--no-check")
    settings = Settings(data_dir=chat.data, model={"name": MODEL})
    with window(chromium) as page:
        come_in(page, chat)

        def answers_now() -> str:
            ask(page, "What does dropout do during training?")
            return page.locator(".lectern-end").last.inner_text()

        assert "sft-1" not in answers_now()
        promote(settings, find_adapter(settings, "sft-1"), None)  # as after a trial that was passed, which one step cannot do
        assert "sft-1" in answers_now()
        assert "sft-1 is taken back" in chat.lectern("finetune", "rollback")
        assert "sft-1" not in answers_now()
    assert current_id(settings) is None
