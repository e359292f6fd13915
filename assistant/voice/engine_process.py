"""An engine of speech in a process of its own: a line of text in, the path of a WAV file out.

Its command reads sentences from standard input, one a line, writes each as a WAV file into a folder of ours and says "Wrote
PATH" on standard error: what `python -m piper --output-dir` does, and espeak_worker.py too. So a crash or a hang of an engine
never takes the chat down, and engines under the GPL are run, not linked. The process ends when its standard input is closed,
hence also with us, however we end.
"""

import queue
import re
import subprocess
import threading
import wave
import weakref
from collections import deque
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from assistant.voice.decoding import read_speech
from assistant.voice.speech import SPOKEN_RATE
from knowledge.errors import CourseError, UnreadableFile

_WROTE = re.compile(r"\bWrote (.+\.wav)\s*$")
_PATIENCE_S = 90.0  # for one sentence with the start of the engine; a busy machine starts Piper in ten
_WARMING = "Ready."  # the first sentence of a process takes half as long again as the next ones
_LAST_WORDS = 3  # lines of standard error that explain a death


class EngineProcess:
    """Starts the engine at the first sentence and once more if it dies. Safe to call from several threads.

    Args:
        name: for messages.
        command: how to start it; "{folder}" stands for the folder of the WAV files.
        remedy: what the user can do if it does not start.
        patience_s: seconds that one sentence may take.
    """

    def __init__(self, name: str, command: list[str], remedy: str, patience_s: float = _PATIENCE_S) -> None:
        self.name = name
        self._folder = TemporaryDirectory(prefix="lectern-voice-", ignore_cleanup_errors=True)  # private to this user
        self._command = [part.replace("{folder}", self._folder.name) for part in command]
        self._remedy = remedy
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._last: deque[str] = deque(maxlen=_LAST_WORDS)
        self._unheard = 0  # sentences that were spoken to nobody, and are still to come

    def say(self, text: str) -> tuple[NDArray[np.int16], int]:
        """Speak one sentence: mono samples, and how many of them are a second. Without letters or digits it is silence.

        Raises:
            CourseError: the engine does not start, or has died twice over this sentence.
        """
        line = " ".join(re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", " ", text).split())
        if not any(character.isalnum() for character in line):
            return np.zeros(0, np.int16), 22_050
        with self._lock:
            for _ in range(2):
                try:
                    path = self._write(line)
                except BaseException:  # an answer that nobody waits for would be taken for the next one's
                    self._end()
                    raise
                if path is not None:
                    return _read(path)
                self._end()
        raise CourseError(f"The voice {self.name} has stopped: {' '.join(self._last) or 'it gave no reason'}.", self._remedy)

    def warm(self) -> None:
        """Let the process load, and say a word to nobody, before somebody waits for it; returns at once."""
        if not self._lock.acquire(blocking=False):  # it is speaking, hence warm
            return
        try:
            if self._process is not None and self._process.poll() is not None:
                self._end()
            if self._process is None:
                self._ask(self._start(), _WARMING)
                self._unheard = 1
        finally:
            self._lock.release()

    def close(self) -> None:
        """End the process; `say` would start it again."""
        with self._lock:
            self._end()

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return self._process.pid if self._process else None

    def _write(self, line: str) -> Path | None:
        """The WAV file of a line, or None if the process has died or takes too long."""
        self._ask(self._process or self._start(), line)
        while True:
            try:
                said = self._lines.get(timeout=self._patience_s)
            except queue.Empty:
                self._last.append(f"no answer in {self._patience_s:.0f} s")
                return None
            if said is None:
                return None
            if wrote := _WROTE.search(said):
                if not self._unheard:
                    return Path(wrote[1])
                self._unheard -= 1
                Path(wrote[1]).unlink(missing_ok=True)
                continue
            if said.strip():
                self._last.append(said.strip())

    def _ask(self, process: "subprocess.Popen[str]", line: str) -> None:
        assert process.stdin is not None
        try:
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
        except OSError:  # it has died: its last words are still to be read
            process.kill()

    def _start(self) -> subprocess.Popen[str]:
        self._last.clear()
        self._unheard = 0
        self._lines = queue.SimpleQueue()
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # Ctrl-C stops an answer, not the voice
        )
        threading.Thread(target=_pass_on, args=(process, self._lines), name=f"{self.name} says", daemon=True).start()
        weakref.finalize(self, _kill, process)
        self._process = process
        return process

    def _end(self) -> None:
        if self._process is not None:
            _kill(self._process)
            self._process = None


def _pass_on(process: subprocess.Popen[str], lines: "queue.SimpleQueue[str | None]") -> None:
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            lines.put(line)
    lines.put(None)


def _kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdin is not None and not process.stdin.closed:
        try:
            process.stdin.close()
        except OSError:  # what it did not read any more
            return


def _read(path: Path) -> tuple[NDArray[np.int16], int]:
    try:
        with path.open("rb") as file:
            if file.read(4) == b"FORM":  # AIFF, which the voice of macOS writes whatever the file is called
                return read_speech(path), SPOKEN_RATE
        with wave.open(str(path), "rb") as sound:
            return np.frombuffer(sound.readframes(sound.getnframes()), dtype="<i2").astype(np.int16), sound.getframerate()
    except (OSError, EOFError, wave.Error, UnreadableFile) as error:
        raise CourseError(f"The voice wrote no sound that can be read: {error}.", "Choose another voice.speaker.") from error
    finally:
        path.unlink(missing_ok=True)
