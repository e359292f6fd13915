import json
import logging
import sys
from pathlib import Path

import click
import pytest
import typer
from fake_model import FakeChatModel, FakeReader
from toy_index import toy_index

from assistant import cli
from assistant.chain import CourseChain
from assistant.course import open_index
from assistant.history import History
from assistant.models import model_path
from assistant.prompts import SECTION_KEY
from assistant.runtime import Runtime
from assistant.settings import Settings, load_settings
from assistant.warming import Warmer
from course_guard.grounding import OverlapVerifier
from knowledge.errors import CourseError
from knowledge.evidence import EvidencePlanner
from knowledge.ingest import ingest
from knowledge.retrieval import CourseRetriever

CALVIN = "What does the Calvin cycle spend?"
RISOTTO = "How do I cook mushroom risotto?"
SPENDS = "The Calvin cycle spends 3 ATP and 2 NADPH per molecule of carbon dioxide."
FIXES = "The Calvin cycle fixes carbon dioxide with the enzyme rubisco."
INVENTED = "It was discovered by three Belgian monks in 1850."


@pytest.fixture(autouse=True)
def fresh_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    load_settings.cache_clear()
    yield
    load_settings.cache_clear()


@pytest.fixture
def lectern(monkeypatch, capsys):
    """Runs the command; returns exit code, standard output and standard error."""

    def run(*arguments, typed=None):
        monkeypatch.setattr(sys, "argv", ["lectern", *map(str, arguments)])
        if typed is not None:
            lines = iter(typed)
            monkeypatch.setattr("builtins.input", lambda prompt="": next(lines))
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        return left.value.code or 0, out, err

    return run


@pytest.fixture
def ready(monkeypatch):
    """A runtime over the toy course; a test sets `ready.chain` by `answering`."""
    settings, index = Settings(), toy_index()
    warmer = Warmer(FakeReader(settings.states_dir), index)
    runtime = Runtime(settings, index, History(settings.history_file), chain=None, warmer=warmer)
    monkeypatch.setattr("assistant.runtime.runtime", lambda: runtime)
    monkeypatch.setattr("assistant.runtime.warm", lambda ready: None)
    answering(runtime, f"{SPENDS} {INVENTED}")
    yield runtime
    runtime.warmer.stop()


def answering(runtime, *replies, pace=0.0, sections=None):
    model = FakeChatModel(replies=list(replies), pace=pace)
    verifier = OverlapVerifier(runtime.index.embedder)
    retriever, planner = CourseRetriever(index=runtime.index, k=20), EvidencePlanner(runtime.index)
    runtime.chain = CourseChain(retriever, planner, model, verifier, runtime.history, None, "fake-1b", sections)
    return model


# ask


def test_ask_shows_sources_answer_and_quotes(lectern, ready):
    code, out, _ = lectern("ask", CALVIN)
    assert code == 0
    assert out.index("[1] Photosynthesis, Calvin cycle") < out.index(f"{SPENDS}[1]") < out.index("    It spends 3 ATP and 2")
    assert INVENTED not in out
    assert "1 sentence left out" in out
    assert "fake-1b" in out


def test_ask_lists_what_was_found_and_counts_the_rest(lectern, ready):
    _, out, _ = lectern("ask", CALVIN, "--sources", 1)
    assert "  [1] Photosynthesis, Calvin cycle\n  and 2 more passages\n" in out
    assert "best sentences" not in out


def test_ask_says_that_a_section_has_not_been_read_in_full(lectern, ready):
    answering(ready, SPENDS, sections=ready.warmer)
    _, out, _ = lectern("ask", CALVIN)
    assert "  [1] Photosynthesis, Calvin cycle\n  (their best sentences only: the section has not been read" in out
    assert json.loads(lectern("ask", CALVIN, "--json")[1])["cold"]
    lectern("warm")
    assert "best sentences" not in lectern("ask", CALVIN)[1]


def test_ask_leaves_markdown_and_brackets_alone(lectern, ready):
    answering(ready, f"- {FIXES}\n- The cycle spends `[3]` ATP \\ [red]2 NADPH[/red] per molecule of carbon dioxide.")
    _, out, _ = lectern("ask", CALVIN)
    assert f"- {FIXES}[1]\n- The cycle spends `[3]` ATP \\ [red]2 NADPH[/red] per molecule of carbon dioxide.[1]\n" in out


def test_ask_shows_a_refusal_with_its_suggestions(lectern, ready):
    code, out, _ = lectern("ask", RISOTTO)
    assert code == 0
    assert "does not seem to cover this" in out
    assert "  - Bayes' theorem: Base rates" in out


def test_json_is_one_line_even_where_libraries_talk(lectern, ready):
    def talkative(messages):
        print("loading weights")
        print("warning", file=sys.stderr)
        logging.getLogger("library").warning("careful")
        return SPENDS

    answering(ready, talkative)
    code, out, err = lectern("ask", CALVIN, "--json", "--sources", 2)
    assert code == 0
    assert out.count("\n") == 1
    data = json.loads(out)
    assert (data["question"], data["answer"], data["refused"]) == (CALVIN, SPENDS, False)
    assert [item["heading"] for item in data["evidence"]][0] == "Photosynthesis > Calvin cycle"
    assert "loading weights" in err


def test_batch_prints_one_object_a_line_in_order(lectern, ready, tmp_path):
    questions = tmp_path / "questions.txt"
    questions.write_text(f"\ufeff{CALVIN}\r\n\n  {RISOTTO}  \nWhich enzyme fixes carbon dioxide?\n", encoding="utf-8")
    answering(ready, SPENDS, FIXES)
    code, out, _ = lectern("ask", "--batch", questions)
    assert code == 0
    objects = [json.loads(line) for line in out.splitlines()]
    assert [o["question"] for o in objects] == [CALVIN, RISOTTO, "Which enzyme fixes carbon dioxide?"]
    assert [o["answer"] for o in objects] == [SPENDS, "", FIXES]
    assert [o["refused"] for o in objects] == [False, True, False]


def test_batch_reads_standard_input(lectern, ready, monkeypatch):
    monkeypatch.setattr("sys.stdin.read", lambda: f"{CALVIN}\n", raising=False)
    code, out, _ = lectern("ask", "--batch", "-")
    assert (code, json.loads(out)["question"]) == (0, CALVIN)


def test_bytes_that_are_no_text_do_not_trouble_ask(lectern, ready):
    code, out, _ = lectern("ask", f"{CALVIN} \udcff", "--json")
    assert (code, json.loads(out)["question"]) == (0, f"{CALVIN} ?")


def test_ctrl_c_exits_with_130_and_keeps_the_turn(lectern, ready):
    def interrupt(messages):
        raise KeyboardInterrupt

    answering(ready, interrupt)
    code, _, err = lectern("ask", CALVIN)
    assert code == 130
    assert "Traceback" not in err
    assert ready.history.turns()[0].record["stopped"]


def test_an_error_after_the_evidence_is_one_line(lectern, ready):
    answering(ready, CourseError("The prompt has 5000 tokens.", "Ask with fewer sources."))
    code, _, err = lectern("ask", CALVIN)
    assert code == 2
    assert err.count("The prompt has 5000 tokens.") == 1
    assert "Traceback" not in err


# Mistakes


def questions_file(content):
    path = Path("questions.txt")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ask"], "either a question or --batch"),
        (["ask", CALVIN, "--batch", "x"], "either a question or --batch"),
        (["ask", "  "], "The question is empty"),
        (["ask", "--batch", "nowhere.txt"], "nowhere.txt cannot be read"),
        (["ask", "--batch", "."], "cannot be read"),
        (["ask", CALVIN, "--sources", "0"], "sources"),
        (["ask", CALVIN, "--model", "gpt-9"], "gpt-9"),
        (["ask", CALVIN, "--model", "nowhere.gguf"], "nowhere.gguf"),
        (["chat", "--model", "gpt-9"], "gpt-9"),
        (["ingest"], "Nothing to ingest"),
        (["history", "rate", "abc", "up"], "No turns"),
        (["history", "show", "abc"], "No turns"),
        (["history", "delete"], "either turn ids or --all"),
        (["history", "delete", "--all", "abc"], "either turn ids or --all"),
        (["nonsense"], "nonsense"),
    ],
)
def test_a_mistake_is_one_readable_line(lectern, ready, arguments, message):
    code, out, err = lectern(*arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in out + err


@pytest.mark.parametrize(("content", "message"), [(b"\xff\xfe\x00", "cannot be read"), (b"\n \n", "has no questions")])
def test_a_bad_file_of_questions_is_named(lectern, ready, content, message):
    code, _, err = lectern("ask", "--batch", questions_file(content))
    assert code == 2
    assert f"questions.txt {message}" in err


def test_a_broken_model_file_is_named(lectern, ready):
    Path("broken.gguf").write_bytes(b"GGUF" + bytes(64))
    code, _, err = lectern("ask", CALVIN, "--model", "broken.gguf")
    assert code == 2
    assert "broken.gguf cannot be loaded" in err


@pytest.mark.parametrize("command", [["ask", CALVIN], ["chat"], ["warm"], ["ingest", "--starter"], ["sources", "list"]])
def test_missing_weights_are_named_with_their_remedy(lectern, command):
    code, _, err = lectern(*command)
    assert code == 2
    assert "lectern models pull" in err


def test_an_empty_course_is_named_with_its_remedy(lectern, ready, index):
    ready.index = index
    code, _, err = lectern("ask", CALVIN)
    assert code == 2
    assert "lectern ingest --starter" in err


def test_an_unknown_key_of_the_settings_file_is_named(lectern):
    Path("lectern.toml").write_text("[evidence]\ncandidate = 8\n")
    code, _, err = lectern("history", "list")
    assert code == 2
    assert "evidence.candidate" in err


def test_a_bad_value_in_the_environment_is_named(lectern, monkeypatch):
    monkeypatch.setenv("LECTERN_EVIDENCE__CANDIDATES", "many")
    code, _, err = lectern("history", "list")
    assert code == 2
    assert "LECTERN_EVIDENCE__CANDIDATES" in err


def test_a_long_message_is_not_broken_into_lines(lectern):
    name = f"{'a' * 150}.txt"
    _, _, err = lectern("ask", "--batch", name)
    assert name in err


# Help


def leaves(command, path):
    if hasattr(command, "commands"):
        for name, child in command.commands.items():
            yield from leaves(child, [*path, name])
    else:
        yield path, command


COMMANDS = list(leaves(typer.main.get_command(cli.app), []))


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(path) for path, _ in COMMANDS])
def test_every_command_explains_itself_with_an_example(path, command):
    assert f"lectern {' '.join(path)}" in command.help.replace("\n", " ")
    assert all(option.help for option in command.params if isinstance(option, click.Option))


@pytest.mark.parametrize("arguments", [["--help"], ["ask", "--help"], ["history", "--help"], ["history", "rate", "--help"]])
def test_help_is_printed(lectern, arguments):
    code, out, _ = lectern(*arguments)
    assert code == 0
    assert "Usage: lectern" in out


def test_version(lectern):
    code, out, _ = lectern("--version")
    assert code == 0
    assert out.startswith("lectern 0.")


def test_other_packages_may_add_commands(lectern, monkeypatch):
    class Entry:
        def load(self):
            return lambda app: added.append(app)

    added = []
    monkeypatch.setattr(cli, "entry_points", lambda group: [Entry()] if group == "lectern.commands" else [])
    lectern("--version")
    assert added == [cli.app]


# chat


def test_chat_understands_follow_ups_and_keeps_thumbs(lectern, ready):
    answering(ready, SPENDS, FIXES, SPENDS)
    typed = [CALVIN, "/up", "", "And which enzyme does it use?", "/down not quite", "/new", "And what?", "/quit"]
    code, out, _ = lectern("chat", typed=typed)
    assert code == 0
    assert f"{SPENDS}[1]" in out
    assert f"{FIXES}[1]" in out
    newest, second, first = ready.history.turns()
    assert (first.value, second.value, second.comment) == (1, 0, "not quite")
    assert second.standalone == f"{CALVIN} And which enzyme does it use?"
    assert second.conversation == first.conversation
    assert (newest.standalone, newest.value) == ("And what?", None)
    assert newest.conversation != first.conversation


def test_chat_goes_on_from_what_the_model_was_asked(lectern, ready):
    model = answering(ready, SPENDS, FIXES)
    lectern("chat", typed=[CALVIN, "And which enzyme does it use?", "/quit"])
    first, second = model.prompts
    assert second[: len(first)] == first


@pytest.mark.parametrize("warm", [True, False])
def test_chat_reads_the_course_ahead_unless_that_is_switched_off(lectern, ready, warm):
    ready.settings = Settings(engine={"warm": warm})
    lectern("chat", typed=["/quit"])
    assert ready.warmer.stop() == warm


def test_chat_explains_its_commands(lectern, ready):
    code, out, _ = lectern("chat", typed=["/up", "/nonsense", "/exit"])
    assert code == 0
    assert "no answer to judge" in out
    assert "/down [comment]" in out


def test_ctrl_c_stops_the_answer_but_not_the_chat(lectern, ready):
    def interrupt(messages):
        raise KeyboardInterrupt

    answering(ready, interrupt, SPENDS)
    code, out, _ = lectern("chat", typed=[CALVIN, CALVIN, "/quit"])
    assert code == 0
    assert "Stopped." in out
    assert f"{SPENDS}[1]" in out


def test_the_end_of_the_input_leaves_the_chat(lectern, ready, monkeypatch):
    def ended(prompt=""):
        raise EOFError

    monkeypatch.setattr("builtins.input", ended)
    code, _, _ = lectern("chat")
    assert code == 0


# warm


def test_warm_reads_the_course_and_says_how_far_it_is(lectern, ready):
    assert lectern("warm", "--status")[1].startswith("0 of 3 sections read, 0 of 4,096 MiB on disk.\nThe rest is answered from")
    code, out, err = lectern("warm")
    assert (code, out) == (0, "3 of 3 sections read, 0 of 4,096 MiB on disk.\n")
    assert "3/3 sections" in err
    assert lectern("warm", "--status")[1] == out


def test_warm_prints_one_json_object(lectern, ready):
    store = ready.warmer.store
    store.save([1], bytes(1000), f"{SECTION_KEY}that is no more")
    code, out, _ = lectern("warm", "--json")
    assert code == 0
    assert json.loads(out) == {"read": 3, "sections": 3, "bytes": store.used(), "budget": 4096 << 20, "stale": 1}
    store.save([1], bytes(1000), f"{SECTION_KEY}that is no more")
    assert "1 that the course has no more" in lectern("warm", "--status")[1]


def test_a_title_in_brackets_does_not_trouble_the_bar(lectern, ready, index, tmp_path):
    (tmp_path / "notes.md").write_text("# The end tag [/b]\n\nIt ends what the start tag has begun.\n")
    ingest(index, [tmp_path / "notes.md"])
    ready.index, ready.warmer = index, Warmer(FakeReader(tmp_path / "states"), index)
    assert lectern("warm")[0] == 0


def test_ctrl_c_keeps_what_has_been_read(lectern, ready):
    reader = ready.warmer._model

    def interrupt():
        if reader.read:
            raise KeyboardInterrupt

    reader.on_read = interrupt
    code, out, err = lectern("warm")
    assert (code, out) == (130, "")
    assert "goes on from here" in err
    assert "Traceback" not in err
    assert lectern("warm", "--status")[1].startswith("1 of 3 sections read")


def test_warm_without_a_course_or_a_budget_says_what_to_do(lectern, ready, index):
    ready.settings = Settings(engine={"disk_mb": 0})
    code, _, err = lectern("warm")
    assert code == 2
    assert "engine.disk_mb is 0" in err
    ready.index = index
    code, _, err = lectern("warm")
    assert code == 2
    assert "lectern ingest --starter" in err


# history


def test_history_lists_shows_judges_exports_and_deletes(lectern, ready):
    for question in (CALVIN, RISOTTO):
        lectern("ask", question)
    refused, answered = ready.history.turns()
    _, out, _ = lectern("history", "list")
    assert answered.id[:8] in out
    assert "refused: not_covered" in out
    assert lectern("history", "rate", answered.id[:8], "down", "--comment", "too short")[0] == 0
    _, out, _ = lectern("history", "show", answered.id[:8])
    shown = json.loads(out)
    assert shown["feedback"] == {"thumb": "down", "comment": "too short"}
    assert shown["answer"] == SPENDS
    _, out, _ = lectern("history", "export")
    assert [json.loads(line)["question"] for line in out.splitlines()] == [CALVIN, RISOTTO]
    assert lectern("history", "rate", answered.id[:8], "sideways")[0] == 2
    lectern("history", "rate", answered.id[:8], "none")
    assert ready.history.find(answered.id).value is None
    assert "1 deleted" in lectern("history", "delete", refused.id[:8])[1]
    assert "1 deleted" in lectern("history", "delete", "--all")[1]
    assert "No turns yet" in lectern("history", "list")[1]


# ingest and sources


@pytest.fixture
def open_toy_index(index, monkeypatch):
    monkeypatch.setattr("assistant.course.open_index", lambda settings, anew=False: index)
    return index


def test_ingest_reports_what_it_took_and_what_it_skipped(lectern, open_toy_index, course_dir):
    (course_dir / "photo.xyz").write_bytes(b"\x00\x01")
    code, out, err = lectern("ingest", course_dir)
    assert (code, out) == (1, "")
    assert "3 added, 0 replaced, 0 unchanged, 1 skipped" in err
    assert "photo.xyz" in err
    (course_dir / "photo.xyz").unlink()
    code, out, _ = lectern("ingest", course_dir, "--json")
    assert (code, json.loads(out)["unchanged"]) == (0, 3)


def test_sources_are_listed_and_removed(lectern, open_toy_index, course_dir):
    assert "The course is empty" in lectern("sources", "list")[1]
    lectern("ingest", course_dir)
    _, out, _ = lectern("sources", "list", "--json")
    assert [info["title"] for info in json.loads(out)] == ["Bayes' theorem", "Orbits", "Photosynthesis"]
    assert "Orbits" in lectern("sources", "list")[1]
    code, out, _ = lectern("sources", "remove", "Orbits")
    assert (code, len(open_toy_index.sources())) == (0, 2)
    code, _, err = lectern("sources", "remove", "Orbits")
    assert code == 2
    assert "No sources are called 'Orbits'" in err


@pytest.fixture
def real_index(embedder, course_dir, monkeypatch, tmp_path):
    """The index of the settings, in its own folder, with the toy course in it; `lectern` finds weights for it."""
    monkeypatch.setattr("assistant.embedders.model_path", lambda name: tmp_path)
    monkeypatch.setattr("assistant.course.SentenceEmbedder", lambda folder: embedder)
    index = open_index(load_settings())
    ingest(index, [course_dir])
    return index


def test_rebuild_starts_from_nothing(lectern, real_index, course_dir):
    code, _, err = lectern("ingest", "--rebuild", course_dir / "orbits.md")
    assert code == 0
    assert "1 added" in err
    assert [info.title for info in real_index.sources()] == ["Orbits"]


def test_rebuild_without_paths_takes_again_what_an_older_lectern_took(lectern, real_index, course_dir, monkeypatch):
    monkeypatch.setattr("knowledge.catalogue.SCHEMA_VERSION", "0")
    assert lectern("sources", "list")[0] == 2
    code, _, err = lectern("ingest", "--rebuild")
    assert code == 0
    assert "3 added" in err
    assert "Orbits" in lectern("sources", "list")[1]


def test_rebuild_without_paths_keeps_an_index_whose_files_are_gone(lectern, real_index, course_dir):
    (course_dir / "orbits.md").unlink()
    code, _, err = lectern("ingest", "--rebuild")
    assert code == 2
    assert "orbits.md" in err
    assert len(real_index.sources()) == 3


def test_rebuild_of_nothing_says_what_to_give(lectern):
    code, _, err = lectern("ingest", "--rebuild")
    assert code == 2
    assert "--starter" in err


def test_rebuild_of_a_damaged_index_names_its_folder(lectern):
    folder = load_settings().index_dir
    folder.mkdir(parents=True)
    (folder / "catalogue.sqlite").write_bytes(b"torn" * 500)
    code, _, err = lectern("ingest", "--rebuild")
    assert code == 2
    assert "delete that folder" in err


@pytest.mark.parametrize("missing", ["weights", "files"])
def test_a_rebuild_that_cannot_succeed_keeps_the_index(lectern, real_index, course_dir, monkeypatch, missing):
    if missing == "weights":
        monkeypatch.setattr("assistant.embedders.model_path", model_path)
    code, _, err = lectern("ingest", "--rebuild", course_dir if missing == "weights" else "nowhere")
    assert code == 2
    assert ("lectern models pull" if missing == "weights" else "nowhere") in err
    assert len(real_index.sources()) == 3
