"""Rankings of public collections against their judgements; what evals/bench/retrieval.py prints, question by question."""

from evals.bench.retrieval import score
from evals.scorers.retrieval import RANKING, ranking_scores
from evals.solvers.collections import Collections
from evals.task import Metric, Output, Sample, Scores, mean, rate

_SINGLE = ("dense", "BM25")
_FUSED = "fused"
_GOLD = {"all gold in top 5": "all_gold@5", "gold share in top 5": "gold_share@5"}  # as evals.bench.retrieval.score names them

METRICS: tuple[Metric, ...] = (
    *RANKING,
    *(mean(f"ndcg@10_{system.lower()}", f"the same of {system} search alone") for system in _SINGLE),
)
WITH_GOLD: tuple[Metric, ...] = (
    *METRICS,
    rate("all_gold@5", "questions whose gold text is wholly in the first 5 passages"),
    mean("gold_share@5", "share of the gold text in the first 5 passages (recall of Smith and Troynikov, 2024)"),
)


class Ranked:
    """Scores of an output of RankingSolver, of the fused ranking unless the name says otherwise.

    Args:
        collections: with the judgements.
    """

    def __init__(self, collections: Collections) -> None:
        self._collections = collections

    def __call__(self, sample: Sample, output: Output) -> Scores:
        collection, id = self._collections[sample.input["collection"]], sample.input["id"]
        relevant = collection.relevant[id]
        scores = ranking_scores(output[_FUSED], relevant)
        for system in _SINGLE:
            scores[f"ndcg@10_{system.lower()}"] = ranking_scores(output[system], relevant)["ndcg@10"]
        if collection.gold:
            found = score(collection, {id: output[_FUSED]})
            scores |= {short: found[name][id] for name, short in _GOLD.items()}
        return scores
