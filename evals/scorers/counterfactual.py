"""What an answer makes of passages that all give the same false answer (counterfactual robustness of RGB, Chen et al., 2024).

The paper asks the model to report factual errors and rates how often it does (error detection rate). Ours is told to keep to
its passages, so being misled is what grounding costs where the material is wrong; only a refusal or the true answer is better.
"""

from evals.scorers.factuality import holds
from evals.scorers.given import answered
from evals.task import Metric, Output, Sample, Scores, rate

METRICS: tuple[Metric, ...] = (
    rate("misled", "questions answered with the false answer and without the true one", higher_is_better=False),
    rate("corrected", "questions answered with the true answer, which no passage gives (the paper's accuracy)"),
    rate("refused", "questions not answered", higher_is_better=None),
)


def counterfactual(sample: Sample, output: Output) -> Scores:
    """`target["false"]` is the answer of the passages, `target["gold"]` the accepted wordings of the true one."""
    text: str = output["answer"]
    right = holds(sample.target["gold"], text)
    return {
        "misled": float(holds([sample.target["false"]], text) and not right),
        "corrected": float(right),
        "refused": float(not answered(output)),
    }
