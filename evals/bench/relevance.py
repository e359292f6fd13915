"""Fit and test the decision whether the course covers a question: `python -m evals.bench.relevance`.

Fits the logistic weights on the development questions, prints them beside those in use (knowledge/retrieval.py), and shows
what each threshold costs: answerable questions refused, and others let through. The reported questions are only tested.
"""

from assistant.course import open_index
from assistant.settings import go_offline, load_settings
from evals.bench.machine import machine
from evals.cases import Case, read_cases
from knowledge.retrieval import RELEVANCE_WEIGHTS, CourseRetriever, relevance


def main() -> None:
    """Print the fit and the trade-off."""
    go_offline()
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    print(machine())
    retriever = CourseRetriever(index=open_index(load_settings()))
    development, reported = read_cases("starter_dev"), read_cases("starter")
    x = np.array([_signals(case, retriever) for case in development])
    y = np.array([case.answerable for case in development])
    fit = LogisticRegression(class_weight="balanced", C=10.0).fit(x, y)
    print(f"development questions: {y.sum()} covered, {(~y).sum()} not")
    print(f"AUROC: similarity {roc_auc_score(y, x[:, 0]):.3f}, coverage {roc_auc_score(y, x[:, 1]):.3f}, ", end="")
    print(f"both {roc_auc_score(y, fit.decision_function(x)):.3f}")
    fitted = (float(fit.intercept_[0]), *(float(weight) for weight in fit.coef_[0]))
    print(f"weights: fitted {tuple(round(w, 2) for w in fitted)}, in use {RELEVANCE_WEIGHTS}")
    for name, cases in (("development", development), ("reported", reported)):
        scores = np.array([relevance(*_signals(case, retriever)) for case in cases])
        covered = np.array([case.answerable for case in cases])
        print(f"\n{name}: threshold, covered but refused, not covered but let through")
        for threshold in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
            print(
                f"  {threshold:.1f}  {(scores[covered] < threshold).mean():6.1%}  {(scores[~covered] >= threshold).mean():6.1%}"
            )


def _signals(case: Case, retriever: CourseRetriever) -> tuple[float, float]:
    return retriever.retrieve(case.question).signals


if __name__ == "__main__":
    main()
