"""The recogniser of the settings, built once for each process, and what it knows of the course."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache

from assistant.models import find_spec, manifest, model_path
from assistant.settings import VoiceSettings, core_count
from assistant.voice.hints import hints
from assistant.voice.recognise import Heard, Recogniser, Samples, Segment
from assistant.voice.spelling import Spelling, spelling_of
from knowledge.errors import MissingModel
from knowledge.index import CourseIndex

_building = threading.Lock()
_CLEAR = 0.85  # confidence; below it the terms of the course help (docs/log.md)


def recogniser(voice: VoiceSettings, threads: int = 0) -> Recogniser:
    """Give what hears; the first call loads the weights, which takes a second or two.

    Args:
        voice: which engine, weights and language.
        threads: of the processor; 0 takes every core that this process may use.

    Raises:
        MissingModel: the weights are not here, or hear nothing.
        CourseError: a package is missing, or the weights are damaged or do not know the language.
    """
    with _building:  # two tabs that ask at once shall not load it twice
        return _build(voice.listener, voice.model, voice.language, threads or core_count())


def course_recogniser(voice: VoiceSettings, index: CourseIndex) -> Recogniser:
    """Give what spells as the course does and leans towards its terms where speech is not clear; raises as `recogniser`."""
    return _Knowing(recogniser(voice), hints(index), spelling_of(index))


@cache
def _build(listener: str, model: str, language: str, threads: int) -> Recogniser:
    if find_spec(model).task != "speech-to-text":
        known = ", ".join(name for name, spec in manifest().items() if spec.task == "speech-to-text")
        raise MissingModel(f"The model {model} does not understand speech.", f"Set voice.model to one of: {known}.")
    folder = model_path(model)
    if listener == "openai-whisper":
        from assistant.voice.whisper_openai import OpenAIWhisper

        return OpenAIWhisper(folder, language)
    from assistant.voice.whisper_fast import FastWhisper

    return FastWhisper(folder, language, threads)


class _Knowing:
    """Hears without the terms of the course first: they help with what is not clear, and lead astray what is (docs/log.md)."""

    def __init__(self, listener: Recogniser, terms: str, spelling: Spelling) -> None:
        self.name = listener.name
        self._listener, self._terms, self._spelling = listener, terms, spelling

    def hear(self, samples: Samples, hints: str | None = None) -> Heard:
        heard = self._listener.hear(samples, hints)
        if hints is None and self._terms and heard.segments and heard.confidence < _CLEAR:
            heard = max(heard, self._listener.hear(samples, self._terms), key=lambda one: one.confidence)
        return replace(heard, segments=tuple(map(self._respelt, heard.segments)))

    def follow(self, sound: Iterable[Samples], stopped: Callable[[], bool] = lambda: False) -> Iterator[Segment]:
        yield from map(self._respelt, self._listener.follow(sound, stopped))

    def _respelt(self, segment: Segment) -> Segment:
        return replace(segment, text=self._spelling.of(segment.text))
