"""Hostile texts and files through everything that reads, checks or shows them; test_fuzz_browser.py has the page."""

import csv
import json
import random
import re
from io import StringIO

import pytest
from bs4 import BeautifulSoup
from hostile import ACTING, COVERED, EVIL, some
from hostile_server import POLICY, chain_over
from markdown_it import MarkdownIt
from poisoned import poisoned
from toy_index import toy_index

from assistant.answer import collect
from assistant.events import Dropped, Refusal, Sentence, Turn
from assistant.guards import inspector
from assistant.history import History
from assistant.prompts import SYSTEM
from assistant.streaming import SentenceBuffer
from assistant.web import app_root
from assistant.web.marking import harmless_markdown, marked, safe_markdown
from course_guard.policy import load_policy
from course_guard.question import question_screen
from course_guard.rules.leak import PromptLeakRule
from knowledge.chunking import chunk
from knowledge.errors import UnreadableFile
from knowledge.ingest import IngestReport, Skipped, ingest
from knowledge.loaders.load import load
from knowledge.sentences import sentence_spans

HOSTILE = some(500)
LEAKS = PromptLeakRule([SYSTEM])
DRAWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def acting(markdown):
    """What would act or lead away, were the text drawn by a page that lets everything through."""
    page = BeautifulSoup(DRAWN.render(markdown), "html.parser")
    for tag in page.find_all(True):
        leads = [tag.attrs[name] for name in ("href", "src", "action", "data", "srcset", "poster") if name in tag.attrs]
        away = [value for value in leads if re.match(r"\s*(?:[a-z][\w+.-]*:|//|\\\\)", value, re.IGNORECASE)]
        if (
            away
            or tag.name in ("script", "iframe", "svg", "style", "form", "object")
            or any(re.fullmatch("on[a-z]+", n) for n in tag.attrs)
        ):
            yield str(tag)[:200]


@pytest.fixture(scope="module")
def worst(tmp_path_factory):
    """The chain of the worst case over the toy course, and its history."""
    folder = tmp_path_factory.mktemp("worst")
    (folder / "policy.toml").write_text(POLICY)
    history = History(folder / "history.sqlite")
    return chain_over(toy_index(), history, folder / "policy.toml"), history


def test_the_inputs_are_what_they_claim_to_be():
    joined = "".join(HOSTILE)
    assert len(set(HOSTILE)) == 500
    assert max(map(len, HOSTILE)) > 4000
    for marks in ("\ud800", "\x00", "\u202e", "\u200b", "[[[[[", "<script>", f"![x](http://{EVIL}/p.png)", COVERED):
        assert marks in joined
    assert sum(COVERED in text for text in HOSTILE) > 150, "or hardly any would be answered"


def test_every_question_ends_in_an_answer_or_a_refusal_and_nothing_leaks(worst):
    chain, history = worst
    answered = 0
    for text in HOSTILE[::3]:  # all of them are for the page
        events = list(chain.stream(Turn(text)))
        answer = collect(Turn(text), events)
        assert answer.done is not None
        assert answer.sentences or answer.refusal or answer.dropped
        answered += bool(answer.sentences)
        for event in events:
            if isinstance(event, Sentence | Dropped):
                assert LEAKS.look(event.text) is None, event
            if isinstance(event, Sentence):
                assert list(acting(safe_markdown(event.text))) == [], event
            if isinstance(event, Refusal):
                assert EVIL not in event.reason
    assert answered > 40
    kept = history.turns()
    assert len(kept) == len(HOSTILE[::3])
    assert all(turn.record["error"] is None for turn in kept)


def test_screened_questions_have_their_spans_inside(embedder, tmp_path):
    (tmp_path / "policy.toml").write_text(POLICY + '[input.graded_work]\naction = "warn"\n')
    screen = question_screen(embedder, load_policy(tmp_path / "policy.toml"))
    for text in HOSTILE:
        for verdict in screen.screen(text).verdicts:
            assert all(0 <= start <= end <= len(text) for start, end in verdict.spans)


def test_sentences_are_the_same_however_the_text_is_cut():
    cuts = random.Random(5)
    for text in HOSTILE:
        spans = sentence_spans(text)
        assert all(start < end for start, end in spans)
        assert spans == sorted(spans)
        whole, pieces = SentenceBuffer(), SentenceBuffer()
        at_once = whole.feed(text) + whole.finish()
        told, position = [], 0
        while position < len(text):
            size = cuts.randrange(1, max(2, len(text) // 8))
            told += pieces.feed(text[position : position + size])
            position += size
        assert told + pieces.finish() == at_once


def test_what_the_page_draws_of_a_course_does_not_act():
    for text in HOSTILE:
        assert list(acting(safe_markdown(harmless_markdown(text)))) == []
        middle = len(text) // 2
        assert list(acting(marked(text, [(middle // 2, middle), (middle, len(text))]))) == []


@pytest.mark.parametrize("stray", ["`", "``", "a ` b", "\\`", "```\nx", "~~~\nx", "`a\n\nb", "``a`", "$`$ `"])
def test_half_a_code_span_does_not_meet_its_other_half_in_another_sentence(stray):
    for second in (f"See http://{EVIL}/x there.", f"`<img src=http://{EVIL}>`", f"```\n<img src=http://{EVIL}>\n```"):
        first, last = safe_markdown(stray), safe_markdown(harmless_markdown(second))
        for text in (f"{first} {last}", f"{first}\n\n{last}"):
            shown = BeautifulSoup(DRAWN.render(text), "html.parser")
            assert all(EVIL not in words or words.find_parent("code") for words in shown.find_all(string=True)), text


def test_what_a_parser_quotes_of_a_file_does_not_act_in_the_report():
    app_root.prepare()  # Chainlit reads its folder when it is imported
    from assistant.web.upload import describe

    for payload in ACTING:
        report = IngestReport(skipped=[Skipped("a.docx", f"a.docx is damaged (BadZipFile: {payload}).")])
        assert list(acting(describe(report))) == []


def files(text):
    """A file of every kind that holds the text in its title, its headings and its words."""
    row = StringIO()
    csv.writer(row).writerows([["planet", text], [text, "red"]])
    cell = {"cell_type": "markdown", "metadata": {}, "source": f"# {text}\n\n{text}"}
    yield ".md", f"---\ntitle: {text}\n---\n# {text}\n\nMars is red. {text}\n\n## {text}\n\n{text}"
    yield ".txt", text
    yield ".html", f"<title>{text}</title><h1>{text}</h1><p title='{text}'>Mars is red. {text}</p><!-- {text} -->"
    yield ".csv", row.getvalue()
    yield ".py", f'"""{text}"""\n# {text}\nx = 1\n'
    yield ".ipynb", json.dumps({"cells": [cell], "metadata": {"title": text}, "nbformat": 4, "nbformat_minor": 5})


def read(path):
    """The document and its passages, or None where the file is refused."""
    try:
        document = load(path)
    except UnreadableFile as error:
        assert len(str(error)) < 1000
        return None
    sections, passages = chunk(document, lambda text: len(text.split()))
    assert all(document.text[passage.start : passage.end] == passage.text for passage in passages)
    json.dumps([document.title, *(passage.text for passage in passages)]).encode()
    document.text.encode()  # it is kept in a file
    document.title.encode()
    return document, passages


def test_files_of_hostile_text_are_read_or_refused(tmp_path):
    taken = 0
    for text in HOSTILE[::4]:
        for ending, content in files(text):
            path = tmp_path / f"file{ending}"
            path.write_bytes(content.encode(errors="surrogatepass"))
            taken += read(path) is not None
    assert taken > 500


def test_damaged_files_are_read_or_refused(tmp_path):
    chance = random.Random(7)
    for number, document in enumerate(poisoned(200)):
        data = bytearray(document.data)
        if number % 2:
            del data[chance.randrange(len(data)) :]
        for _ in range(chance.randrange(1, 30)):
            if data:
                data[chance.randrange(len(data))] = chance.randrange(256)
        path = tmp_path / document.name
        path.write_bytes(bytes(data))
        read(path)


def test_poisoned_files_change_no_answer_and_name_no_address(tmp_path, ingested):
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    folder = tmp_path / "poisoned"
    folder.mkdir()
    for document in poisoned(200):
        (folder / document.name).write_bytes(document.data)
    for number, payload in enumerate(ACTING):
        text = f"# Orbits {payload}\n\nKepler found planet {number}. {payload}\n\n{payload}\n"
        (folder / f"acting{number}.md").write_text(text)
    report = ingest(ingested, [folder], inspect=inspector(policy))
    assert [skipped.reason for skipped in report.skipped if "could be cited" not in skipped.reason] == []
    chain = chain_over(ingested, None, policy)
    sentences = 0
    for number in range(0, 200, 5):
        events = list(chain.stream(Turn(f"What did Kepler find of planet {number % len(ACTING)}, number {number}?")))
        for event in events:
            if isinstance(event, Sentence):
                sentences += 1
                assert "marmalade" not in event.text.lower()
                assert list(acting(safe_markdown(event.text))) == []
                assert LEAKS.look(event.text) is None
    assert sentences  # else it has shown nothing
