"""Does what is searched for a follow-up say what people's rewrite of it says? Compared by words: there is nothing to search.

Words are the stemmed content words that BM25 uses.
"""

from evals.task import Metric, Output, Sample, Scores, mean, rate
from knowledge.lexical import terms

METRICS: tuple[Metric, ...] = (
    mean("rewrite_recall", "share of the rewrite's content words in what is searched"),
    mean("rewrite_recall_question", "the same of the question alone, the baseline"),
    mean("rewrite_precision", "share of the words of what is searched that the rewrite has"),
    rate("joined_follow_up", "questions that hang on earlier ones and are searched together with some"),
    rate("joined_other", "other questions that are searched together with earlier ones", higher_is_better=False),
)


def rewrites(sample: Sample, output: Output) -> Scores:
    """Of an output of SearchedSolver against `target["rewrite"]`; all None if the rewrite has no content words.

    A question hangs on earlier ones where the rewrite has a word that the question lacks and an earlier question has.
    """
    wanted, searched = set(terms(sample.target["rewrite"])), set(terms(output["searched"]))
    question: str = sample.input["question"]
    asked, before = set(terms(question)), set(terms(" ".join(sample.input["earlier"])))
    hangs, joined = bool((wanted - asked) & before), float(output["searched"] != question)
    scores: Scores = {metric.key: None for metric in METRICS}
    if not wanted:
        return scores
    return scores | {
        "rewrite_recall": len(wanted & searched) / len(wanted),
        "rewrite_recall_question": len(wanted & asked) / len(wanted),
        "rewrite_precision": len(wanted & searched) / len(searched) if searched else None,
        "joined_follow_up": joined if hangs else None,
        "joined_other": None if hangs else joined,
    }
