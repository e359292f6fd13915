"""How well passages are found in public collections; the first question of a collection waits until all of it is embedded."""

from evals.scorers.collections import METRICS, WITH_GOLD, Ranked
from evals.sets import collections, data_folder
from evals.solvers.collections import Collections, RankingSolver
from evals.task import Task

TASKS = (
    Task(
        name="retrieval/cranfield",
        about="questions of aeronautical engineers on 1,400 abstracts, dense and BM25 search fused",
        samples=lambda data: collections.read_cranfield_questions(data_folder(data, "cranfield")),
        solver=lambda environment: RankingSolver(environment, "cranfield"),
        scorers=lambda environment: [Ranked(Collections(environment))],
        metrics=METRICS,
        data=("cranfield",),
        source="Cranfield (no licence stated, for measuring only), 225 questions, halved by the hash of the question",
        seconds=1.0,
    ),
    Task(
        name="retrieval/chunking",
        about="questions on five long documents, cut as an ingest cuts them, with the exact texts that answer",
        samples=lambda data: collections.read_chunking_questions(data_folder(data, "chunking_eval")),
        solver=lambda environment: RankingSolver(environment, "chunking_eval"),
        scorers=lambda environment: [Ranked(Collections(environment))],
        metrics=WITH_GOLD,
        data=("chunking_eval",),
        source="chunking_evaluation (MIT), 472 questions, halved by the hash of the question",
        seconds=1.0,
    ),
)
