"""The voice of the settings."""

from functools import cache

from assistant.models import manifest, state
from assistant.settings import VoiceSettings
from assistant.voice.espeak import EspeakVoice, KnownVoice
from assistant.voice.espeak import voices as espeak_voices
from assistant.voice.piper import PiperVoice
from assistant.voice.speech import Voice


def voice(settings: VoiceSettings) -> Voice:
    """The Voice that speaker, voice and rate ask for, one for the whole process; its engine starts with the first sentence.

    Raises:
        CourseError: a package or the weights are missing; the text says what to do.
    """
    return _made(settings.speaker, settings.voice, settings.rate)


@cache
def _made(speaker: str, name: str, rate: int) -> Voice:
    return PiperVoice(name, rate) if speaker == "piper" else EspeakVoice(name, rate)


def voices(speaker: str) -> list[KnownVoice]:
    """What `voice.voice` may be set to, for "espeak" or "piper": of Piper the models whose weights are here.

    Raises:
        CourseError: espeak is missing.
    """
    if speaker == "espeak":
        return espeak_voices()
    models = [spec for spec in manifest().values() if spec.task == "text-to-speech" and state(spec) == "cached"]
    return [KnownVoice(spec.name, spec.note, "") for spec in models]
