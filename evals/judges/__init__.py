"""Does a text support a sentence? What groundedness and citation scores rest on, behind one interface.

A judge is itself evaluated (tasks of the family "judge"), and its quality is printed beside every figure that it makes; see
evals/judges/quality.py. Judges never see labels.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from knowledge.errors import CourseError

if TYPE_CHECKING:
    from evals.environment import Environment

NAMES = "overlap, reread, trained, coverage, always, nli:FOLDER, openai:URL#MODEL"


class Judge(Protocol):
    """Gives the probability that passages, taken together, support a sentence."""

    @property
    def identity(self) -> str:
        """Name and version of everything that its verdicts depend on."""

    @property
    def threshold(self) -> float:
        """From this probability on, a sentence counts as supported."""

    def support(self, sentences: Sequence[str], passages: Sequence[str], question: str = "") -> list[float]:
        """Probability, 0 to 1, that the passages support each sentence; `question` is what the sentences answer."""


def make_judge(name: str, environment: "Environment") -> Judge:
    """The judge called `name` on the command line.

    overlap: embeddings and words. trained: an encoder trained for it, with exact checks of numbers and names; its weights are
    made with finetune/guards/verifier. coverage, always: trivial ones, to compare with. nli:FOLDER: an entailment model, a
    sentence-transformers CrossEncoder in a local folder. openai:URL#MODEL: a chat model behind any OpenAI-compatible endpoint;
    the only one that sends anything anywhere, and only to that URL.

    Args:
        name: one of these.
        environment: of the run; only its cache is used, so that a variant of the assistant is judged by the same judge.

    Raises:
        CourseError: there is no such judge, or what it needs is missing.
    """
    kind, _, rest = name.partition(":")
    if name == "coverage":
        from evals.judges.trivial import CoverageJudge

        return CoverageJudge()
    if name == "always":
        from evals.judges.trivial import AlwaysJudge

        return AlwaysJudge()
    return RememberingJudge(_costly(kind, rest, name), environment)


def _costly(kind: str, rest: str, name: str) -> Judge:
    if name == "overlap":
        from evals.judges.overlap import overlap_judge

        return overlap_judge()
    if name == "reread":
        from evals.judges.rereading import reread_judge

        return reread_judge()
    if name == "trained":
        from evals.judges.trained import trained_judge

        return trained_judge()
    if kind == "nli" and rest:
        from course_guard.support.entailment import entailment_judge

        return entailment_judge(rest)
    if kind == "openai" and rest:
        from course_guard.support.endpoint import endpoint_judge

        return endpoint_judge(rest)
    raise CourseError(f"There is no judge {name}.", f"Use one of: {NAMES}.")


class RememberingJudge:
    """A judge whose verdicts are kept in the cache of the environment, so that a changed scorer reruns in seconds."""

    def __init__(self, judge: Judge, environment: "Environment") -> None:
        self._judge, self._cache = judge, environment.cache
        self.identity, self.threshold = judge.identity, judge.threshold

    def support(self, sentences: Sequence[str], passages: Sequence[str], question: str = "") -> list[float]:
        key = {"judge": self.identity, "question": question, "passages": list(passages), "sentences": list(sentences)}
        known: list[float] | None = self._cache.get(key)
        if known is None:
            known = self._judge.support(sentences, passages, question)
            self._cache.set(key, known)
        return known
