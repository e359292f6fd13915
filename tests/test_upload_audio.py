"""A recording dropped into the page: a spoken question, or course material."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from assistant.settings import Settings
from assistant.voice.recognise import HEARD_RATE, Heard, Segment
from assistant.web import app_root
from knowledge.errors import CourseError, UnreadableFile
from knowledge.ingest import IngestReport

app_root.prepare()
from assistant.web import upload  # noqa: E402  Chainlit reads its folder when it is imported

QUESTION = Heard((Segment("What is dropout?", 0.2, 1.4, 0.9),), "en", 1.2)


class Note:
    """Takes the place of LiveMessage: remembers what stood on the page."""

    page: list["Note"] = []

    def __init__(self, *elements: str, **metadata: Any) -> None:
        self.message = self
        self.content, self.removed, self.metadata = "", False, metadata

    async def send(self) -> None:
        Note.page.append(self)

    async def change(self, content: str | None = None, *, streaming: bool = True, **metadata: Any) -> None:
        self.content = content or self.content
        self.metadata |= metadata

    async def remove(self) -> None:
        self.removed = True


class Message:
    """A message of the reader's with files; speaks what upload.py uses of chainlit.Message."""

    def __init__(self, content: str, *files: Path) -> None:
        self.content = content
        self.elements = [SimpleNamespace(name=file.name, path=str(file)) for file in files]
        self.shown: list[str] = []

    async def update(self) -> None:
        self.shown.append(self.content)


class Ears:
    """Speaks assistant.voice.recognise.Recogniser: hears what it is told to."""

    name = "ears"

    def __init__(self) -> None:
        self.heard = QUESTION
        self.asked: list[tuple[int, str]] = []

    def hear(self, samples: Any, hints: str = "") -> Heard:
        self.asked.append((len(samples), hints))
        return self.heard

    def follow(self, samples: Any, stopped: Any = lambda: False) -> Iterator[Segment]:
        yield Segment("Dropout switches off units.", 754.0, 760.0, 0.9)
        yield Segment("Mumble.", 761.0, 762.0, 0.2)


@pytest.fixture
def ears(monkeypatch: pytest.MonkeyPatch) -> Ears:
    """Ears, recordings whose names say how many seconds they last, and no index."""
    found = Ears()

    def read_audio(path: Path, longest_s: float) -> Any:
        if path.stem == "damaged" or (seconds := int(path.stem)) > longest_s:
            raise UnreadableFile(f"{path.name} is damaged or too long.")
        return np.zeros(seconds * HEARD_RATE, np.float32)

    monkeypatch.setattr("assistant.voice.listening.course_recogniser", lambda settings, index: found)
    monkeypatch.setattr("assistant.voice.audio.read_audio", read_audio)
    monkeypatch.setattr(
        "assistant.voice.decoding.length_s", lambda path, longest_s: len(read_audio(path, longest_s)) / HEARD_RATE
    )
    return found


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were ingested."""
    names: list[str] = []

    def ingest(index: object, paths: list[Path], *_: object) -> IngestReport:
        names.extend(path.name for path in paths)
        return IngestReport(added=[str(path) for path in paths], passages=len(paths), seconds=1.0)

    monkeypatch.setattr("knowledge.ingest.ingest", ingest)
    monkeypatch.setattr("knowledge.calibration.recalibrate_if_stale", lambda *_: None)
    return names


def drop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, *names: str) -> Message:
    """Send a message with files of these names, and return it as it was afterwards."""
    monkeypatch.setattr(upload, "LiveMessage", Note)
    Note.page = []
    files = [tmp_path / name for name in names]
    for file in files:
        file.write_bytes(b"sound")
    message = Message(words, *files)
    runtime = SimpleNamespace(settings=Settings(data_dir=tmp_path / "data"), index=None)
    asyncio.run(upload.take_in(runtime, message, Event()))  # type: ignore[arg-type]
    return message


def test_a_short_recording_is_a_question(tmp_path, monkeypatch, ears, taken):
    message = drop(tmp_path, monkeypatch, " ", "8.ogg")
    assert (message.content, message.shown, message.elements) == ("What is dropout?", ["What is dropout?"], [])
    assert ears.asked == [(8 * HEARD_RATE, "")] and taken == []
    assert [note.content for note in Note.page] == [
        "**8.ogg** was taken as a question. With typed words, it becomes course material."
    ]
    assert not (tmp_path / "data").exists()  # what was said is not kept


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("", ["121.mp3"]),  # a lecture
        ("What is this about?", ["8.ogg"]),  # the words are the question
        ("", ["8.mp4"]),  # a video is shown, not asked
        ("", ["8.ogg", "9.wav"]),  # which one would be the question?
        ("", ["damaged.flac"]),  # the ingest says so
        ("", ["notes.md"]),
    ],
)
def test_everything_else_is_course_material(tmp_path, monkeypatch, ears, taken, words, names):
    message = drop(tmp_path, monkeypatch, words, *names)
    assert (message.content, message.shown, len(message.elements)) == (words, [], len(names))
    assert taken == names and ears.asked == []
    (note,) = Note.page
    spoken = "What is said in a recording is course material now, and cited with its minute."
    assert (spoken in note.content) == (names != ["notes.md"])
    assert ("at most 120 seconds" in note.content) == (names != ["notes.md"])


def test_a_question_may_come_with_files(tmp_path, monkeypatch, ears, taken):
    message = drop(tmp_path, monkeypatch, "", "notes.md", "8.ogg", "121.mp3")
    assert taken == ["notes.md", "121.mp3"]
    assert message.content == "What is dropout?"
    assert [element.name for element in message.elements] == ["notes.md", "121.mp3"]


def test_a_question_that_nobody_asks_is_refused(tmp_path, monkeypatch, ears, taken):
    ears.heard = Heard((), "en", 0.0)
    with pytest.raises(CourseError, match=r"There is no speech in 8\.ogg"):
        drop(tmp_path, monkeypatch, "", "8.ogg")
    assert [note.removed for note in Note.page] == [True]


def test_a_question_that_was_hard_to_understand_is_shown_and_not_answered(tmp_path, monkeypatch, ears, taken):
    ears.heard = Heard((Segment("What is drop doubt?", 0.2, 1.4, 0.3),), "en", 1.2)
    shown: list[str] = []

    async def update(message: Message) -> None:
        shown.append(message.content)

    monkeypatch.setattr(Message, "update", update)
    with pytest.raises(CourseError, match="hard to understand. Correct the question"):
        drop(tmp_path, monkeypatch, "", "8.ogg")
    assert shown == ["What is drop doubt?"]


def test_a_lecture_is_transcribed_with_its_times_and_what_is_doubtful(tmp_path, ears):
    from assistant.voice.recordings import transcriber

    told: list[tuple[float, float]] = []
    transcribe = transcriber(Settings().voice, None)  # type: ignore[arg-type]
    spoken = list(transcribe(tmp_path / "900.mp3", lambda *seconds: told.append(seconds), lambda: False))
    assert [(one.text, one.start_s, one.clear) for one in spoken] == [
        ("Dropout switches off units.", 754.0, True),
        ("Mumble.", 761.0, False),
    ]
    assert told == [(0.0, 900.0), (760.0, 900.0), (762.0, 900.0), (900.0, 900.0)]
    with pytest.raises(UnreadableFile):
        list(transcribe(tmp_path / "10801.mp3", lambda *_: None, lambda: False))
