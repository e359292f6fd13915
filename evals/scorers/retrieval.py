"""Is what the question needs found, ranked high, and in the prompt? Ranking measures are those of ir_measures."""

import re
from collections.abc import Iterable, Mapping, Sequence

from evals.task import Metric, Output, Sample, Scores, mean, rate
from knowledge.sentences import sentence_spans

CUTS = (1, 5, 10)

RANKING: tuple[Metric, ...] = (
    *(mean(f"recall@{k}", f"share of the relevant among the first {k}") for k in CUTS),
    mean("ndcg@10", "normalised discounted cumulative gain of the first 10 (Järvelin and Kekäläinen, 2002)"),
    mean("mrr", "mean reciprocal rank of the first relevant one, 0 where none was found"),
)
METRICS: tuple[Metric, ...] = (
    *(rate(f"recall@{k}", f"questions whose gold evidence is in the first {k} passages") for k in CUTS),
    *RANKING[len(CUTS) :],
    mean("context_recall", "share of the gold evidence's sentences in the prompt, once the section has been read"),
    mean("context_precision", "share of the prompt's passages that hold gold evidence (RAGChecker's context precision)"),
    mean("context_recall_cold", "share of the gold evidence's sentences in the prompt while the section has not been read"),
    rate("covered", "answerable questions that reach the threshold of relevance"),
    rate("let_through", "unanswerable questions that reach it, and are refused later or not at all", higher_is_better=False),
)


def ranking_scores(ranking: Sequence[str], relevant: Mapping[str, int]) -> Scores:
    """recall@1, recall@5, recall@10, ndcg@10 and mrr of one ranking.

    Args:
        ranking: ids, best first, each once.
        relevant: grades by id, 0 for judged and not relevant.
    """
    import ir_measures
    from ir_measures import RR, R, nDCG

    measures = {**{f"recall@{k}": R @ k for k in CUTS}, "ndcg@10": nDCG @ 10, "mrr": RR}
    run = {"q": {id_: -float(place) for place, id_ in enumerate(ranking)}}  # ranks as scores: ties would be broken by name
    found = ir_measures.calc_aggregate(list(measures.values()), {"q": dict(relevant)}, run if ranking else {"q": {"": 0.0}})
    return {name: float(found[measure]) for name, measure in measures.items()}


def course_retrieval(sample: Sample, output: Output) -> Scores:
    """Of an output of RetrievalSolver against `target["evidence"]`, the lesson's own words, and `target["lesson"]`.

    Passages that hold a sentence of the evidence are relevant. Copies of it are alternatives: the first one found counts.
    relevance and answerable are given for every question, let_through for unanswerable ones, the rest for answerable ones.
    """
    answerable = bool(sample.target["answerable"])
    scores: Scores = {
        "relevance": output["relevance"],
        "answerable": float(answerable),
        "covered": float(output["covered"]) if answerable else None,
        "let_through": None if answerable else float(output["covered"]),
    }
    if not answerable:
        return scores
    gold, lesson, plan = gold_sentences(sample.target["evidence"]), sample.target["lesson"], output["plan"] or {}
    warm = [*plan.get("section", ()), *plan.get("extras", ())]
    return {
        **scores,
        **ranking_scores(*judged(output["passages"], gold, lesson)),
        "context_recall": _recall(warm, gold, lesson),
        "context_precision": sum(holds_any(item, gold, lesson) for item in warm) / len(warm) if warm else None,
        "context_recall_cold": _recall(plan.get("pruned", ()), gold, lesson),
    }


def judged(passages: Iterable[Mapping[str, str]], gold: Sequence[str], lesson: str) -> tuple[list[str], dict[str, int]]:
    """A ranking of passages and what of it is relevant, for `ranking_scores`; only the first that holds the gold counts."""
    ranking, first = [], ""
    for item in passages:
        if holds_any(item, gold, lesson):
            if first:
                continue
            first = item["passage"]
        ranking.append(item["passage"])
    return ranking, {first or "not found": 1}


def gold_sentences(evidence: str) -> list[str]:
    """The sentences of gold evidence, white space made one."""
    return [plain(evidence[start:end]) for start, end in sentence_spans(evidence)]


def holds_any(passage: Mapping[str, str], gold: Iterable[str], lesson: str) -> bool:
    """Whether a passage of the lesson has one of the sentences."""
    text = plain(passage["text"])
    return passage["source"] == lesson and any(sentence in text for sentence in gold)


def plain(text: str) -> str:
    """White space made one, because loaders and excerpts may end lines elsewhere."""
    return re.sub(r"\s+", " ", text).strip()


def _recall(passages: Iterable[Mapping[str, str]], gold: Sequence[str], lesson: str) -> float:
    texts = [plain(item["text"]) for item in passages if item["source"] == lesson]
    return sum(any(sentence in text for text in texts) for sentence in gold) / len(gold)
