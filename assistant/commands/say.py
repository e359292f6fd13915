"""`lectern say`: hear how an answer would sound."""

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import track

from knowledge.errors import CourseError

if TYPE_CHECKING:
    from assistant.voice.speech import Voice

_PLAYERS = (["afplay"], ["pw-play"], ["paplay"], ["aplay", "-q"], ["ffplay", "-nodisp", "-autoexit", "-loglevel", "error"])


def say(
    text: Annotated[str, typer.Argument(help="What to say: words or Markdown.", show_default=False)] = "",
    out: Annotated[
        Path | None, typer.Option("--out", help="Write a WAV file instead of playing it.", show_default=False)
    ] = None,
    speaker: Annotated[
        Literal["espeak", "piper"] | None, typer.Option(help="What speaks; the setting voice.speaker unless given.")
    ] = None,
    rate: Annotated[int | None, typer.Option(min=80, max=400, help="Words a minute; else the setting voice.rate.")] = None,
    show_list: Annotated[bool, typer.Option("--list", help="List the voices that voice.voice may be set to.")] = False,
) -> None:
    """Say a text aloud the way answers are spoken: formulas, code and citations in words.

    Examples:
        lectern say "LoRA adds $BA$ to `W` [1]."

        lectern say --speaker piper --out hello.wav "Hello."

        lectern say --list
    """
    from assistant.settings import load_settings

    settings = load_settings().voice
    wanted = speaker or settings.speaker
    if show_list:
        _list(wanted)
        return
    if not text.strip():
        raise CourseError("There is nothing to say.", "Type a text in quotes, or --list to see the voices.")
    if wanted != settings.speaker:  # the voice of one speaker means nothing to the other
        settings = settings.model_copy(update={"speaker": wanted, "voice": ""})
    from assistant.voice.speaking import voice

    engine = voice(settings.model_copy(update={"rate": rate or settings.rate}))
    try:
        _say(engine, text, out)
    finally:
        engine.close()


def _say(engine: "Voice", text: str, out: Path | None) -> None:
    import numpy as np

    from assistant.voice.audio import write_wav
    from assistant.voice.speakable import speakable
    from assistant.voice.speech import SPOKEN_RATE
    from knowledge.sentences import sentence_spans

    words = speakable(text)
    sentences = [words[start:end] for start, end in sentence_spans(words)]
    if not sentences:
        raise CourseError("There are no words in that.", "Type a text in quotes.")
    console = Console(stderr=True)
    console.print(words, markup=False, highlight=False, soft_wrap=True)
    if out is None:
        player = _player()
    pieces = [engine.say(s).samples for s in track(sentences, "Speaking", console=console, transient=True)]
    samples = np.concatenate(pieces)
    if out is not None:
        write_wav(out, samples, SPOKEN_RATE)
        typer.echo(f"{out}: {len(samples) / SPOKEN_RATE:.1f} s")
        return
    with TemporaryDirectory() as folder:
        file = Path(folder, "said.wav")
        write_wav(file, samples, SPOKEN_RATE)
        _play(player, file)


def _player() -> list[str]:
    """What plays a WAV file here; empty on Windows, which can do it itself."""
    if sys.platform == "win32":
        return []
    for command in _PLAYERS:
        if shutil.which(command[0]):
            return command
    raise CourseError(
        "No program that plays sound was found.",
        "Write a file with --out FILE.wav, or install one (Debian: apt-get install alsa-utils).",
    )


def _play(player: list[str], file: Path) -> None:
    if sys.platform == "win32":
        import winsound

        winsound.PlaySound(str(file), winsound.SND_FILENAME)
        return
    done = subprocess.run([*player, str(file)], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise CourseError(f"{player[0]} could not play it: {last}.", "Write a file with --out FILE.wav.")


def _list(speaker: str) -> None:
    from assistant.voice.speaking import voices

    known = voices(speaker)
    if not known:
        raise CourseError(f"There is no voice for {speaker} here.", "Run `lectern models pull piper-en_us-joe-medium`.")
    for found in known:
        typer.echo("\t".join(filter(None, (found.name, found.language, found.title))))
