"""Whisper as OpenAI published it, on PyTorch: for comparison, and where CTranslate2 has no build. Three times as slow."""

from pathlib import Path
from typing import Any

from assistant.voice.recognise import Samples
from assistant.voice.whisper import BEAM, LONGEST_TOKENS, TEMPERATURES, Decoded, Whisper
from knowledge.errors import CourseError


class OpenAIWhisper(Whisper):
    """A Recogniser on openai-whisper, with the weights that faster-whisper uses (see checkpoint.py).

    Args:
        folder: weights as CTranslate2 files; nothing is ever fetched.
        language: ISO 639-1 code; empty lets the model tell.

    Raises:
        CourseError: openai-whisper is not installed, the weights cannot be converted, or they do not know the language.
    """

    def __init__(self, folder: Path, language: str) -> None:
        try:
            import whisper
            from whisper.tokenizer import LANGUAGES
        except ModuleNotFoundError as error:
            raise CourseError(
                "This needs the package openai-whisper, which is not installed.",
                "Run: .venv/bin/pip install -c constraints.txt -e '.[openai-whisper]', or set voice.listener = faster-whisper.",
            ) from error
        self._model = _loaded(whisper, folder)
        languages = list(LANGUAGES)[: self._model.num_languages] if self._model.is_multilingual else ["en"]
        super().__init__(f"openai-whisper, {folder.name}", language, languages)

    def _decode(self, window: Samples, language: str, hints: str) -> tuple[list[Decoded], str]:
        found: dict[str, Any] = self._model.transcribe(
            window,
            language=language or None,
            beam_size=BEAM,
            temperature=TEMPERATURES,
            sample_len=LONGEST_TOKENS,
            no_speech_threshold=None,  # is_believable decides
            condition_on_previous_text=False,
            initial_prompt=hints or None,
            carry_initial_prompt=bool(hints),
            word_timestamps=True,  # for the words' probabilities
            fp16=False,
        )
        decoded = [
            Decoded(
                s["text"], float(s["start"]), float(s["end"]), _mean(s["words"]), s["no_speech_prob"], s["compression_ratio"]
            )
            for s in found["segments"]
        ]
        return decoded, str(found["language"])


def _mean(words: list[dict[str, Any]]) -> float:
    return float(sum(word["probability"] for word in words) / len(words)) if words else 0.0


def _loaded(whisper: Any, folder: Path) -> Any:
    import torch

    from assistant.voice.checkpoint import converted, read

    try:
        dimensions, weights = converted(read(folder / "model.bin"))
        model = whisper.Whisper(whisper.ModelDimensions(**dimensions))
        model.load_state_dict({name: torch.from_numpy(weight) for name, weight in weights.items()})
    except (OSError, ValueError, RuntimeError) as error:  # PyTorch raises nothing finer for shapes that do not fit
        remedy = f"Fetch them again: lectern models pull --repair {folder.name}"
        raise CourseError(f"The weights in {folder} cannot be used: {error}.", remedy) from error
    return model.eval()
