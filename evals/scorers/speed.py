"""How long it took, from the timings of the turn; None where the model's words came from the cache, or never came."""

from collections.abc import Callable, Sequence

from evals.task import Metric, Output, Sample, Scores, pooled, rate

_OF_WRITING = ("first_token_ms", "first_sentence_ms", "total_ms", "tokens_per_s")


def speed(sample: Sample, output: Output) -> Scores:
    """The times in milliseconds, tokens_per_s of writing, and cold (0 or 1): whether the section had not been read before.

    computed_tokens is how many tokens of the prompt had to be computed; None where the model was interrupted, too. A refusal
    before the model was asked takes no time to speak of, and has evidence_ms only.
    """
    timings = output["timings"]
    read = output["prompt_tokens"]
    written = timings.get("first_token_ms") is not None
    return {
        "evidence_ms": timings.get("evidence_ms"),
        **{name: timings.get(name) if written else None for name in _OF_WRITING},
        "cold": float(output["cold"]) if output["evidence"] else None,
        "computed_tokens": float(read - output["cached_tokens"]) if written and read else None,
    }


def percentile(key: str, percent: float) -> Callable[[Sequence[Scores]], float | None]:
    """Of a score, linear between neighbours as numpy does it; None without values."""

    def compute(rows: Sequence[Scores]) -> float | None:
        import numpy as np

        values = [value for row in rows if (value := row.get(key)) is not None]
        return float(np.percentile(values, percent)) if values else None

    return compute


def _times(key: str, what: str) -> tuple[Metric, ...]:
    return tuple(
        pooled(
            f"{key}_p{percent}", percentile(key, percent), f"{what}, {name}", higher_is_better=False, unit="ms", needs=(key,)
        )
        for percent, name in ((50, "median"), (95, "95th percentile"))
    )


METRICS: tuple[Metric, ...] = (
    *_times("evidence_ms", "until the sources are shown"),
    *_times("first_token_ms", "until the model's first token"),
    *_times("first_sentence_ms", "until the first checked sentence is shown"),
    *_times("total_ms", "until the end"),
    pooled(
        "tokens_per_s_p50",
        percentile("tokens_per_s", 50),
        "tokens a second while writing, median",
        unit="tokens/s",
        needs=("tokens_per_s",),
    ),
    rate("cold", "questions whose section had not been read ahead", higher_is_better=None),
)
