"""What share of an answer do its passages support? ragas' faithfulness with sentences as claims (Es et al., 2023).

Two texts are judged: what was shown, and what the model wrote, which is that and the sentences that the check left out. The
difference is what the check achieves. A judge that works as the check itself does (overlap) flatters what was shown.
"""

from evals.judges import Judge
from evals.scorers.given import evidence, left_out, shown
from evals.task import Metric, Output, Sample, Scores, mean, rate

METRICS: tuple[Metric, ...] = (
    mean("supported_share", "share of an answer's shown sentences that the passages support by the judge"),
    rate("unsupported_answer", "shown answers with a sentence that the passages do not support", higher_is_better=False),
    mean("written_supported_share", "share of the sentences that the model wrote, shown or left out, that are supported"),
    rate("written_unsupported_answer", "texts that the model wrote with an unsupported sentence", higher_is_better=False),
)


class Groundedness:
    """Scores of answers by a judge; None where nothing was shown, or written.

    least_support and written_least_support are the probabilities of the weakest sentence.
    """

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def __call__(self, sample: Sample, output: Output) -> Scores:
        seen, kept_back = shown(output), left_out(output)
        sentences = [*seen, *kept_back]
        support = self._judge.support(sentences, evidence(output), output["standalone"]) if sentences else []
        return {**self._shares("", support[: len(seen)]), **self._shares("written_", support)}

    def _shares(self, prefix: str, support: list[float]) -> Scores:
        names = ("supported_share", "unsupported_answer", "least_support")
        values: tuple[float | None, ...] = (None, None, None)
        if support:
            supported = [probability >= self._judge.threshold for probability in support]
            values = (sum(supported) / len(supported), float(not all(supported)), min(support))
        return {f"{prefix}{name}": value for name, value in zip(names, values, strict=True)}
