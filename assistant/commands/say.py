"""`lectern say`: hear how an answer would sound."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import track

from knowledge.errors import CourseError

if TYPE_CHECKING:
    from assistant.voice.speech import Voice


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
    from assistant.voice.devices import Playing, player
    from assistant.voice.speakable import speakable
    from assistant.voice.speech import SPOKEN_RATE
    from knowledge.sentences import sentence_spans

    words = speakable(text)
    sentences = [words[start:end] for start, end in sentence_spans(words)]
    if not sentences:
        raise CourseError("There are no words in that.", "Type a text in quotes.")
    console = Console(stderr=True)
    console.print(words, markup=False, highlight=False, soft_wrap=True)
    playing = Playing(player()) if out is None else None  # before anything is spoken: there may be none
    pieces = [engine.say(s).samples for s in track(sentences, "Speaking", console=console, transient=True)]
    samples = np.concatenate(pieces)
    if playing is not None:
        playing.play(samples.astype("<i2").tobytes())
        playing.finish()
    elif out is not None:
        write_wav(out, samples, SPOKEN_RATE)
        typer.echo(f"{out}: {len(samples) / SPOKEN_RATE:.1f} s")


def _list(speaker: str) -> None:
    from assistant.voice.speaking import voices

    known = voices(speaker)
    if not known:
        raise CourseError(f"There is no voice for {speaker} here.", "Run `lectern models pull piper-en_us-joe-medium`.")
    for found in known:
        typer.echo("\t".join(filter(None, (found.name, found.language, found.title))))
