"""Citation precision and recall as ALCE defines them (Gao et al., 2023), and whether a citation opens at its quote."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evals.judges import Judge
from evals.scorers.given import with_heading
from evals.task import Metric, Output, Sample, Scores, mean

if TYPE_CHECKING:
    from evals.environment import Environment

DocumentText = Callable[[str], str | None]
"""The text of a source, in which its citations count their characters; None where the passage itself is the document."""

METRICS: tuple[Metric, ...] = (
    mean("citation_precision", "ALCE: share of an answer's citations that support their sentence and are needed for it"),
    mean("citation_recall", "ALCE: share of an answer's sentences that their cited passages together support"),
    mean("exact_citations", "share of an answer's citations whose place in the document holds exactly their quote"),
)


class Citations:
    """Scores of the shown sentences and their citations; None where nothing was shown.

    A sentence scores 1 in recall if its cited passages, taken together, support it; without citations it scores 0. A citation
    counts in precision if its sentence is supported, unless it alone does not support it and the others without it still do. An
    answer without citations scores 0 in precision.

    Args:
        judge: decides what supports what.
        document: looks up the text of a source.
    """

    def __init__(self, judge: Judge, document: DocumentText = lambda source: None) -> None:
        self._judge, self._document = judge, document

    def __call__(self, sample: Sample, output: Output) -> Scores:
        sentences, passages = output["sentences"], output["evidence"]
        if not sentences:
            return dict.fromkeys(("citation_precision", "citation_recall", "exact_citations"))
        cited = [[passages[n - 1] for n in dict.fromkeys(c["number"] for c in s["citations"])] for s in sentences]
        supported, counted = 0, 0
        for sentence, of in zip(sentences, cited, strict=True):
            texts = [with_heading(passage) for passage in of]
            if texts and self._support(texts, sentence["text"], output):
                supported += 1
                counted += sum(self._is_needed(texts, place, sentence["text"], output) for place in range(len(texts)))
        total = sum(map(len, cited))
        places = [citation for sentence in sentences for citation in sentence["citations"]]
        exact = sum(self._is_exact(citation, passages) for citation in places)
        return {
            "citation_precision": counted / total if total else 0.0,
            "citation_recall": supported / len(sentences),
            "exact_citations": exact / len(places) if places else None,
        }

    def _is_needed(self, texts: Sequence[str], place: int, sentence: str, output: Output) -> bool:
        rest = [*texts[:place], *texts[place + 1 :]]
        return not rest or self._support([texts[place]], sentence, output) or not self._support(rest, sentence, output)

    def _support(self, texts: Sequence[str], sentence: str, output: Output) -> bool:
        (probability,) = self._judge.support([sentence], texts, output["standalone"])
        return probability >= self._judge.threshold

    def _is_exact(self, citation: Mapping[str, Any], passages: Sequence[Mapping[str, Any]]) -> bool:
        text = self._document(citation["source"])
        if text is None:
            text = passages[citation["number"] - 1]["text"]
        return bool(text[citation["start"] : citation["end"]] == citation["quote"])


def course_documents(environment: "Environment") -> DocumentText:
    """Looks up sources in the course of a run."""

    def text_of(source: str) -> str | None:
        index = environment.runtime.index
        ids = {info.source: info.document_id for info in index.sources()}
        document = index.document(ids[source]) if source in ids else None
        return document.text if document else None

    return text_of
