"""Whisper on CTranslate2, in 8 bit: the fast one."""

from pathlib import Path
from typing import TYPE_CHECKING

from assistant.voice.recognise import Samples
from assistant.voice.whisper import BEAM, LONGEST_TOKENS, TEMPERATURES, Decoded, Whisper
from knowledge.errors import CourseError

if TYPE_CHECKING:
    from faster_whisper.transcribe import Word


class FastWhisper(Whisper):
    """A Recogniser on faster-whisper.

    Args:
        folder: weights as CTranslate2 files, with tokenizer.json; nothing is ever fetched.
        language: ISO 639-1 code; empty lets the model tell.
        threads: of the processor.
        compute: CTranslate2's type of arithmetic; "int8" needs half the time of "float32".

    Raises:
        CourseError: faster-whisper is not installed, the weights are damaged, or they do not know the language.
    """

    def __init__(self, folder: Path, language: str, threads: int, compute: str = "int8") -> None:
        if not (folder / "tokenizer.json").is_file():  # the library would ask the hub for it
            raise CourseError(f"{folder} lacks tokenizer.json.", "Fetch the model again: lectern models pull --repair NAME")
        try:
            from faster_whisper import WhisperModel
        except ModuleNotFoundError as error:
            remedy = "Run: make voice"
            raise CourseError("Listening needs the package faster-whisper, which is not installed.", remedy) from error
        try:
            model = WhisperModel(
                str(folder), device="cpu", compute_type=compute, cpu_threads=threads, num_workers=1, local_files_only=True
            )
        except (RuntimeError, ValueError) as error:  # CTranslate2 raises nothing finer
            remedy = f"Fetch them again: lectern models pull --repair {folder.name}"
            raise CourseError(f"The weights in {folder} cannot be loaded: {error}.", remedy) from error
        self._model = model
        super().__init__(f"faster-whisper, {folder.name}", language, model.supported_languages)

    def _decode(self, window: Samples, language: str, hints: str) -> tuple[list[Decoded], str]:
        segments, info = self._model.transcribe(
            window,
            language=language or None,
            beam_size=BEAM,
            temperature=TEMPERATURES,
            best_of=1,
            max_new_tokens=LONGEST_TOKENS,
            no_speech_threshold=None,  # is_believable decides
            condition_on_previous_text=False,
            word_timestamps=True,  # for the words' probabilities; times are the better for it, too
            hotwords=hints or None,  # the same prompt as initial_prompt makes, but also where a window is decoded in two goes
        )
        decoded = [
            Decoded(s.text, float(s.start), float(s.end), _mean(s.words), s.no_speech_prob, s.compression_ratio)
            for s in segments
        ]
        return decoded, info.language


def _mean(words: "list[Word] | None") -> float:
    return float(sum(word.probability for word in words) / len(words)) if words else 0.0
