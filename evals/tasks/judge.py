"""How good is the judge itself? Sentences that people (or their makers) have labelled, and what the judge of the run says.

Every figure about groundedness rests on the judge, so its own are printed beside them; see evals/judges/quality.py.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from evals.cases import claims
from evals.scorers.detection import DetectionScorer, metrics
from evals.sets import attributionbench, data_folder, halueval, nli, qags, ragtruth, wice
from evals.solvers.judge import JudgeSolver
from evals.task import Sample, Task

GENERATORS = (
    "gpt-4-0613", "gpt-3.5-turbo-0613", "llama-2-7b-chat", "llama-2-13b-chat", "llama-2-70b-chat", "mistral-7B-instruct",
)  # fmt: skip
ATTRIBUTION = (
    "ExpertQA", "Stanford-GenSearch", "AttributedQA", "LFQA", "HAGRID", "BEGIN", "AttrScore-GenSearch",
)  # fmt: skip
NLI = (*nli.NLI_SETS, *(f"anli_{name}" for name in nli.ANLI_ROUNDS))
RAGTRUTH = "RAGTruth (MIT) by way of vectara/FaithJudge, part of its test split, halved by the hash of the source"


def _task(
    name: str,
    about: str,
    read: Callable[[Path | None], Iterable[Sample]],
    parts: Sequence[str],
    data: tuple[str, ...],
    source: str,
    *,
    sentences: bool = False,
    seconds: float = 0.03,
) -> Task:
    return Task(
        name=f"judge/{name}",
        about=about,
        samples=read,
        solver=JudgeSolver,
        scorers=lambda _: [DetectionScorer(sentences)],
        metrics=metrics(parts, sentences),
        data=data,
        source=source,
        seconds=seconds,
        judged=True,
        probability=("suspicion", "unsupported"),
    )


def _ragtruth(part: ragtruth.Part) -> Callable[[Path | None], Iterable[Sample]]:
    return lambda data: ragtruth.read(data_folder(data, "faithjudge"), part)


TASKS = (
    _task(
        "ragtruth-qa",
        "finds unsupported sentences in six models' answers from three passages, marked by people",
        _ragtruth("qa"), GENERATORS, ("faithjudge",), RAGTRUTH, sentences=True, seconds=0.1,
    ),
    _task(
        "claims",
        "tells true claims about the starter course from ones with a number, a name or a word turned round",
        lambda _: claims.samples(), ("claims",), (), "written for Lectern, Apache-2.0", seconds=0.2,
    ),
    _task(
        "ragtruth-summary",
        "the same in summaries of news",
        _ragtruth("summary"), GENERATORS, ("faithjudge",), RAGTRUTH, sentences=True, seconds=0.15,
    ),
    _task(
        "ragtruth-data2txt",
        "the same in descriptions of businesses from a record",
        _ragtruth("data2txt"), GENERATORS, ("faithjudge",), RAGTRUTH, sentences=True, seconds=0.2,
    ),
    _task(
        "attributionbench",
        "tells claims that their reference attributes from those that it does not",
        lambda data: attributionbench.read(data_folder(data, "attributionbench")), ATTRIBUTION, ("attributionbench",),
        "AttributionBench, licence unstated, balanced test subsets, halved by the hash of the question", seconds=0.2,
    ),
    _task(
        "wice",
        "finds claims of Wikipedia that the cited page supports in part or not at all",
        lambda data: wice.read(data_folder(data, "wice")), ("claims",), ("wice",),
        "WiCE (ODC-BY, CC BY-SA), claims with oracle chunks, its own dev and test", seconds=0.2,
    ),
    _task(
        "qags",
        "finds inconsistent sentences in summaries, by majority of three people",
        lambda data: qags.read(data_folder(data, "qags")), qags.PARTS, ("qags",),
        "QAGS, licence unstated, halved by the hash of the article", sentences=True, seconds=0.2,
    ),
    _task(
        "halueval",
        "tells made-up answers of HotpotQA from right ones",
        lambda data: halueval.read(data_folder(data, "halueval")), halueval.PARTS, ("halueval",),
        "HaluEval QA (MIT), generation pool, halved by the hash of the question", seconds=0.05,
    ),
    _task(
        "nli",
        "tells hypotheses that the premise entails from others; many entailment models were trained on these sets",
        lambda data: nli.read(data_folder(data, "nli"), data_folder(data, "anli")), NLI, ("nli", "anli"),
        "SNLI, MNLI, SciTail, RTE, SICK, FraCaS, CommitmentBank, ANLI: dev sets, mixed licences, halved by premise",
    ),
)  # fmt: skip
