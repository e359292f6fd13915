"""What share of an answer do its passages support? ragas' faithfulness with sentences as claims (Es et al., 2023).

Two texts are judged: what was shown, and what the model wrote, which is that and the sentences that the check left out. The
difference is what the check achieves. A judge that works as the check itself does (overlap) flatters what was shown.
"""

from evals.judges import Judge
from evals.scorers.abstention import declined
from evals.scorers.given import evidence, left_out, shown
from evals.task import Metric, Output, Sample, Scores, mean, rate

METRICS: tuple[Metric, ...] = (
    mean("supported_share", "share of an answer's shown sentences that the passages support by the judge"),
    rate("unsupported_answer", "shown answers with a sentence that the passages do not support", higher_is_better=False),
    mean("written_supported_share", "share of the sentences that the model wrote, shown or left out, that are supported"),
    rate("written_unsupported_answer", "texts that the model wrote with an unsupported sentence", higher_is_better=False),
)

GROUNDED = rate(
    "grounded",
    "questions to which the model wrote supported sentences only, or, where the course does not cover them, declined to answer",
)
DECLINES: tuple[Metric, ...] = (
    rate("declined_uncovered", "questions that the course does not cover, which the model itself declined to answer"),
    rate("declined_covered", "covered questions that it declined; in no other figure", higher_is_better=False),
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


class Grounded:
    """Whether the model kept to its passages: a question that they do not answer has to be declined.

    grounded is None where a covered question was declined: that is a false refusal, and nothing was said.
    """

    def __init__(self, judge: Judge) -> None:
        self._groundedness = Groundedness(judge)

    def __call__(self, sample: Sample, output: Output) -> Scores:
        scores = self._groundedness(sample, output)
        covered, refused = bool(sample.target["answerable"]), declined(sample, output)["model_declined"]
        unsupported = scores["written_unsupported_answer"]
        supported = None if refused or unsupported is None else 1 - unsupported
        return {
            **scores,
            "grounded": supported if covered else refused,
            "declined_covered": refused if covered else None,
            "declined_uncovered": None if covered else refused,
        }
