"""Word error rate and real-time factor of speech recognition."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from evals.solvers.speech import CONDITIONS
from evals.task import Metric, Output, Sample, Scores, pooled


def hearing(sample: Sample, output: Output) -> Scores:
    """Word errors in each condition, words of the reference, seconds of sound and of recognition.

    Both texts are normalised as for Whisper's own figures (Radford et al., 2023, appendix C): case, punctuation, numbers and
    contractions do not count, and neither do British and American spelling.
    """
    import jiwer

    said = _normaliser()(sample.target["said"])
    scores: Scores = {"words": float(len(said.split())), "audio_s": output["audio_s"]}
    for condition, heard in output["heard"].items():
        text = _normaliser()(heard["text"])
        if said:
            found = jiwer.process_words(said, text)
            scores[f"errors: {condition}"] = float(found.substitutions + found.deletions + found.insertions)
        scores[f"heard: {condition}"] = float(len(text.split()))
        scores[f"seconds: {condition}"] = heard["seconds"]
    return scores


def word_error_rate(condition: str) -> Metric:
    """Substituted, left out and added words of all samples, as a share of the words that were said."""
    key = f"errors: {condition}"
    return pooled(
        f"wer, {condition}", _ratio(key, "words"), "word error rate, all samples together", higher_is_better=False, needs=(key,)
    )


def real_time_factor(condition: str = "clean") -> Metric:
    """Seconds of recognition for a second of sound."""
    key = f"seconds: {condition}"
    return pooled("rtf", _ratio(key, "audio_s"), "seconds of recognition a second of sound", False, needs=(key,))


@cache
def _normaliser() -> Callable[[str], str]:
    from whisper_normalizer.english import EnglishTextNormalizer  # with Whisper's list of spellings, unlike transformers' own

    normalise: Any = EnglishTextNormalizer()
    return lambda text: str(normalise(text)).strip()


def _ratio(key: str, base: str) -> Callable[[Sequence[Scores]], float | None]:
    def compute(rows: Sequence[Scores]) -> float | None:
        counted = [row for row in rows if row.get(key) is not None]
        return _sum(counted, key) / total if (total := _sum(counted, base)) else None

    return compute


def _sum(rows: Sequence[Scores], key: str) -> float:
    return sum(row.get(key) or 0.0 for row in rows)


WER = tuple(word_error_rate(condition) for condition in CONDITIONS)
PHANTOMS = (
    pooled("words heard", lambda rows: _sum(rows, "heard: clean"), "where nobody speaks", False, needs=("heard: clean",)),
    pooled("minutes", lambda rows: _sum(rows, "audio_s") / 60, "of sound", None, needs=("audio_s",)),
)
