"""The sound devices of this machine, through programs that most systems have; Python has none of its own."""

import contextlib
import shutil
import subprocess
import sys

from assistant.voice.recognise import HEARD_RATE
from assistant.voice.speech import SPOKEN_RATE
from knowledge.errors import CourseError

_RECORDERS = {  # raw 16 bit mono at HEARD_RATE to standard output
    "arecord": f"-q -t raw -f S16_LE -c 1 -r {HEARD_RATE}",
    "parecord": f"--raw --format=s16le --channels=1 --rate={HEARD_RATE}",
    "rec": f"-q -t raw -b 16 -e signed-integer -c 1 -r {HEARD_RATE} -",
}
_PLAYERS = {  # the same at SPOKEN_RATE from standard input
    "aplay": f"-q -t raw -f S16_LE -c 1 -r {SPOKEN_RATE}",
    "paplay": f"--raw --format=s16le --channels=1 --rate={SPOKEN_RATE}",
    "play": f"-q -t raw -b 16 -e signed-integer -c 1 -r {SPOKEN_RATE} -",
    "ffplay": f"-loglevel error -nodisp -f s16le -sample_rate {SPOKEN_RATE} -",
}
_MAC_RECORDERS = {"ffmpeg": f"-loglevel error -f avfoundation -i :default -ac 1 -ar {HEARD_RATE} -f s16le -"}
_REMEDY = "Install one (Debian: apt-get install alsa-utils; macOS: brew install sox), or talk with the page: lectern serve"


def recorder() -> list[str]:
    """The command that records.

    Raises:
        CourseError: there is none.
    """
    return _first(_RECORDERS | (_MAC_RECORDERS if sys.platform == "darwin" else {}), "records")


def player() -> list[str]:
    """The command that plays.

    Raises:
        CourseError: there is none.
    """
    return _first(_PLAYERS, "plays")


def _first(known: dict[str, str], does: str) -> list[str]:
    for program, options in known.items():
        if path := shutil.which(program):
            return [path, *options.split()]
    raise CourseError(f"No program that {does} sound was found ({', '.join(known)}).", _REMEDY)


class Recording:
    """The microphone while it is open; use it as a context manager.

    Args:
        command: of `recorder`.
    """

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Recording":
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return self

    def __exit__(self, *_: object) -> None:
        _end(self._process)

    def read(self, size: int) -> bytes:
        """Wait for so many bytes of 16 bit mono at HEARD_RATE; fewer, or none, once the recorder has ended.

        Raises:
            CourseError: it ended with an error, for instance because there is no microphone.
        """
        assert self._process is not None and self._process.stdout is not None and self._process.stderr is not None
        pcm = self._process.stdout.read(size)
        if not pcm and self._process.wait() > 0:
            said = self._process.stderr.read().decode(errors="replace").strip().splitlines()
            raise CourseError(f"The microphone cannot be opened: {said[-1] if said else self._command[0]}.", _REMEDY)
        return pcm


class Playing:
    """What is being played.

    Args:
        command: of `player`.
    """

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def play(self, pcm: bytes) -> None:
        """Hand 16 bit mono at SPOKEN_RATE to the player; waits while it has enough."""
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):  # silenced meanwhile
            self._process.stdin.write(pcm)
            self._process.stdin.flush()

    def finish(self) -> None:
        """Wait until all of it has been played.

        Raises:
            CourseError: the player failed.
        """
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        with contextlib.suppress(BrokenPipeError):  # it has ended already; its exit status says how
            process.stdin.close()
        if process.wait():
            raise CourseError(f"{self._command[0]} could not play it.", "Write a file with --out FILE.wav.")

    def silence(self) -> None:
        """At once."""
        process, self._process = self._process, None
        _end(process)


def _end(process: "subprocess.Popen[bytes] | None") -> None:
    if process is None:
        return
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            with contextlib.suppress(BrokenPipeError):  # what was not played yet
                pipe.close()
