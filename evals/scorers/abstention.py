"""Does it refuse what it should, and only that? Abstention as retrieval of the unanswerable (AbstentionBench, Trust-Score).

A question is answerable if what the assistant could read answers it: the course, or the passages of a set. relevance and
answerable together give the trade-off of any refusal threshold, whatever the threshold of the run was.
"""

from collections.abc import Sequence

from evals.scorers.given import answered
from evals.task import Metric, Output, Sample, Scores, pooled, rate


def abstention(sample: Sample, output: Output) -> Scores:
    """Of one answer or refusal.

    `target["answerable"]` may be None where neither answering nor refusing is wrong; then only answered and relevance are
    given. `target["near"]` marks unanswerable questions that are close to the course.

    Returns:
        answered and answerable (0 or 1), relevance (0 to 1), and by what each metric is a rate of: refused_unanswerable of
        unanswerable questions, refused_near of those close to the course, refused_answerable of answerable ones, refusal_right
        of refusals, answer_right of answers.
    """
    answerable = sample.target.get("answerable")
    refused = not answered(output)
    applies = {
        "refused_unanswerable": answerable is not None and not answerable,
        "refused_near": answerable is not None and not answerable and bool(sample.target.get("near")),
        "refused_answerable": bool(answerable),
    }
    return {
        "answered": float(not refused),
        "answerable": None if answerable is None else float(answerable),
        "relevance": output["relevance"],
        **{name: float(refused) if here else None for name, here in applies.items()},
        "refusal_right": float(not answerable) if refused and answerable is not None else None,
    }


def declined(sample: Sample, output: Output) -> Scores:
    """Of an answer to a question that is not covered, for which the model was asked in any case.

    Returns:
        model_declined where the model itself said so, shown_anyway where a sentence passed the check. Both are 0 where the
        model wrote something and the check kept all of it back.
    """
    return {
        "model_declined": float(output["rule"] == "not_covered" and not output["sentences"]),
        "shown_anyway": float(answered(output)),
    }


def refusal_f1(rows: Sequence[Scores]) -> float | None:
    """F1 of refusing the unanswerable; None if nothing is unanswerable and nothing was refused."""
    known = [(row["answerable"], row["answered"]) for row in rows if row.get("answerable") is not None]
    right = sum(not answerable and not given for answerable, given in known)
    wrong = sum(bool(answerable) != bool(given) for answerable, given in known)  # false refusals and missed ones
    return 2 * right / (2 * right + wrong) if right + wrong else None


def relevance_auroc(rows: Sequence[Scores]) -> float | None:
    """How well relevance alone tells answerable questions from others; None without both kinds."""
    from sklearn.metrics import roc_auc_score

    known = [(row["answerable"], row["relevance"]) for row in rows if row.get("answerable") is not None]
    labels = [answerable for answerable, _ in known]
    if len(set(labels)) < 2:
        return None
    return float(roc_auc_score(labels, [relevance for _, relevance in known]))


RELEVANCE = pooled(
    "relevance_auroc",
    relevance_auroc,
    "AUROC of retrieval's relevance for telling answerable questions from others",
    needs=("answerable", "relevance"),
)

DECLINED: tuple[Metric, ...] = (
    rate("model_declined", "uncovered questions that the model itself declines to answer"),
    rate("shown_anyway", "uncovered questions after which a sentence is shown", higher_is_better=False),
)
METRICS: tuple[Metric, ...] = (
    rate("refusal_right", "refusals of questions that are indeed not answerable", name="refusal_precision"),
    rate("refused_unanswerable", "unanswerable questions that were refused", name="refusal_recall"),
    pooled("refusal_f1", refusal_f1, "harmonic mean of refusal precision and recall", needs=("answerable", "answered")),
    rate("refused_answerable", "answerable questions that were refused", name="false_refusal_rate", higher_is_better=False),
    rate("refused_near", "unanswerable questions close to the course that were refused"),
    rate("answered", "questions that got an answer", higher_is_better=None),
    RELEVANCE,
)
