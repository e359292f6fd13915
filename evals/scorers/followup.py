"""Does what is searched for a follow-up find what its meaning, spelled out by hand, finds?"""

from typing import TYPE_CHECKING

from evals.scorers.retrieval import gold_sentences, holds_any
from evals.task import Metric, Output, Sample, Scores, mean, rate

if TYPE_CHECKING:
    from knowledge.retrieval import CourseRetriever

_TOP = 5

METRICS: tuple[Metric, ...] = (
    mean("same_top5", "share of the first 5 passages of the standalone question that are in the first 5 of what was searched"),
    rate("same_first", "follow-ups whose first passage is that of the standalone question"),
    rate("evidence_top5", "answerable follow-ups with the gold evidence in the first 5 passages"),
    rate("evidence_top5_standalone", "the same, had the standalone question been searched for"),
    rate("evidence_lost", "follow-ups where the standalone question finds the gold evidence in the first 5, and the search not",
         higher_is_better=False),
    rate("covered_alike", "follow-ups on which both searches agree whether the course covers them"),
)  # fmt: skip


class FollowUp:
    """Compares an output of RetrievalSolver with a search for `target["standalone"]`.

    Args:
        retriever: the one whose output is scored.
    """

    def __init__(self, retriever: "CourseRetriever") -> None:
        self._retriever = retriever

    def __call__(self, sample: Sample, output: Output) -> Scores:
        gold = self._retriever.retrieve(sample.target["standalone"])
        wanted = [{"passage": r.passage.id, "source": r.passage.source, "text": r.passage.text} for r in gold.passages[:_TOP]]
        found = output["passages"][:_TOP]
        ids, best = {item["passage"] for item in found}, [item["passage"] for item in wanted]
        scores: Scores = {
            "same_top5": sum(id_ in ids for id_ in best) / len(best) if best else None,
            "same_first": float(bool(found) and found[0]["passage"] == best[0]) if best else None,
            "covered_alike": float(output["covered"] == gold.covered),
            **dict.fromkeys(("evidence_top5", "evidence_top5_standalone", "evidence_lost")),
        }
        if sample.target["answerable"]:
            sentences, lesson = gold_sentences(sample.target["evidence"]), sample.target["lesson"]
            here, there = (any(holds_any(item, sentences, lesson) for item in items) for items in (found, wanted))
            scores |= {
                "evidence_top5": float(here),
                "evidence_top5_standalone": float(there),
                "evidence_lost": float(there and not here),
            }
        return scores
