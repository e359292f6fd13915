"""The recogniser of the settings, built once for each process."""

import threading
from functools import cache

from assistant.models import find_spec, manifest, model_path
from assistant.settings import VoiceSettings, core_count
from assistant.voice.recognise import Recogniser
from knowledge.errors import MissingModel

_building = threading.Lock()


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
