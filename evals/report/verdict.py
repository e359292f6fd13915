"""Did a sample go well? A task has many figures; these decide under which heading a reader finds the sample."""

from evals.task import Metric, Row, Scores, Task

_HALF = 0.5


def verdict(row: Row, task: Task | None) -> tuple[str, tuple[str, ...]]:
    """Outcome of a row (passed, failed, error, or empty where nothing tells) and what failed, in words.

    A sample fails if it was refused though it is covered, or the reverse; else if the first yes/no figure of its task that it
    has a score for is on the bad side, or if its answer has an unsupported sentence. Where a task has no such figure, what it
    foretells must come true: on the right side of the score `most`, or of one half.
    """
    if row.error:
        return "error", ()
    scores = row.scores
    answerable, answered = scores.get("answerable"), scores.get("answered")
    judged = answerable is not None and answered is not None
    if judged and answerable != answered:
        return "failed", ("refused, though it is covered" if answerable else "answered, though it is not covered",)
    yes_no = [
        metric
        for metric in (task.metrics if task else ())
        if metric.binary and metric.higher_is_better is not None and scores.get(metric.key) is not None
    ]
    told = yes_no[:1] + [metric for metric in yes_no[1:] if metric.key == "unsupported_answer"]
    if not told and task and task.probability and (came_true := _came_true(scores, *task.probability)) is not None:
        return ("passed", ()) if came_true else ("failed", (f"{task.probability[0]} on the wrong side of the threshold",))
    if not told and not judged:
        return "", ()
    bad = tuple(metric.name.replace("_", " ") for metric in told if not _good(metric, scores))
    return ("failed" if bad else "passed"), bad


def _good(metric: Metric, scores: Scores) -> bool:
    return ((scores.get(metric.key) or 0.0) >= _HALF) == metric.higher_is_better


def _came_true(scores: Scores, probability: str, outcome: str) -> bool | None:
    foretold, happened, most = scores.get(probability), scores.get(outcome), scores.get("most")
    if foretold is None or happened is None:
        return None
    return (foretold > (_HALF if most is None else most)) == (happened >= _HALF)
