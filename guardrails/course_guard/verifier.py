"""The verifier of the settings."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from course_guard.grounding import OverlapVerifier, StoredSentences, Verifier
from course_guard.settings import GroundingSettings
from knowledge.embedding import Embedder
from knowledge.errors import CourseError

if TYPE_CHECKING:
    from langchain_core.language_models.chat_models import BaseChatModel

    from course_guard.support.features import Reading

NAMES = "overlap, reread, trained, nli:FOLDER, openai:URL#MODEL"


class SupportJudge(Protocol):
    """Any model that gives the probability that texts support sentences."""

    @property
    def threshold(self) -> float:
        """From this probability on, a sentence counts as supported."""

    def support(self, sentences: Sequence[str], passages: Sequence[str], question: str = "") -> list[float]:
        """Probability, 0 to 1, that the passages, taken together, support each sentence."""


def make_verifier(
    settings: GroundingSettings,
    embedder: Embedder,
    stored: StoredSentences | None = None,
    model: "BaseChatModel | None" = None,
) -> Verifier:
    """The verifier that `settings.verifier` names.

    overlap: embeddings, words and numbers. reread: overlap, and the chat model reads again what is not a copy.
    trained: an encoder trained with finetune/guards/verifier, with exact checks. nli:FOLDER: a cross-encoder trained on
    entailment (a sentence-transformers CrossEncoder, such as nli-deberta-v3-xsmall). openai:URL#MODEL: a chat model behind an
    OpenAI-compatible endpoint; the only one that sends anything anywhere.

    Args:
        settings: `threshold`, where it is set, replaces the one that belongs to the verifier.
        embedder: of the course; the shipped calibration is for all-MiniLM-L6-v2.
        stored: as in TrainedVerifier.
        model: the chat model, for reread.

    Raises:
        CourseError: there is no such verifier, or what it needs is missing.
    """
    kind, _, rest = settings.verifier.partition(":")
    if settings.verifier == "overlap":
        return OverlapVerifier(embedder, settings, stored)
    if settings.verifier == "reread" and model is not None:
        from course_guard.support.reread import RereadVerifier

        return RereadVerifier(embedder, model, settings, stored)
    if settings.verifier == "trained":
        from course_guard.support.cascade import TrainedVerifier
        from course_guard.support.encoder import Encoder

        return TrainedVerifier(embedder, Encoder(), settings, stored, threshold=settings.threshold)
    if kind in ("nli", "openai") and rest:
        return judged_verifier(_judge(kind, rest), embedder, settings, stored)
    raise CourseError(f"There is no verifier {settings.verifier}.", f"Set grounding.verifier to one of: {NAMES}.")


def judged_verifier(
    judge: SupportJudge, embedder: Embedder, settings: GroundingSettings, stored: StoredSentences | None
) -> Verifier:
    """A verifier that asks `judge` about the windows of the evidence that overlap finds; a wrong number counts as ever."""
    from course_guard.support.cascade import WRONG_NUMBER, TrainedVerifier

    class JudgedVerifier(TrainedVerifier):
        """Probability by the judge, citations by overlap."""

        def probability(self, reading: "Reading") -> float:
            found = judge.support([reading.claim], reading.premises)[0]
            return found * WRONG_NUMBER if reading.values["numbers_missing"] else found

    threshold = judge.threshold if settings.threshold is None else settings.threshold
    return JudgedVerifier(embedder, None, settings, stored, threshold=threshold)


def _judge(kind: str, rest: str) -> SupportJudge:
    if kind == "nli":
        from course_guard.support.entailment import entailment_judge

        return entailment_judge(rest)
    from course_guard.support.endpoint import endpoint_judge

    return endpoint_judge(rest)
