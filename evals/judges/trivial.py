"""Judges that understand nothing. A judge that is hardly better than these is not worth its time."""

from collections.abc import Sequence

from knowledge.lexical import terms


def coverage(sentences: Sequence[str], passages: Sequence[str], question: str = "") -> list[float]:
    """Share of each sentence's distinct content words (stemmed, no stop words) that stand in the passages or the question.

    A sentence without content words claims nothing that could be unsupported: 1.
    """
    there = frozenset(terms("\n".join((question, *passages))))
    return [len(wanted & there) / len(wanted) if (wanted := frozenset(terms(s))) else 1.0 for s in sentences]


class CoverageJudge:
    """Word overlap alone."""

    identity = "coverage:1"
    threshold = 0.5  # best F1 on the dev half of RAGTruth-QA: of sentences 0.48, of responses 0.53

    def support(self, sentences: Sequence[str], passages: Sequence[str], question: str = "") -> list[float]:
        return coverage(sentences, passages, question)


class AlwaysJudge:
    """Calls every sentence unsupported: what "yes, that is a hallucination" finds and costs."""

    identity = "always:1"
    threshold = 0.5

    def support(self, sentences: Sequence[str], passages: Sequence[str], question: str = "") -> list[float]:
        return [0.0] * len(sentences)
