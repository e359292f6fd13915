"""Overlap and the chat model reading again, as `grounding.verifier = reread` has them, as a judge."""

from collections.abc import Sequence
from hashlib import sha256
from inspect import getsource

from assistant.models import model_path
from assistant.runtime import chat_model
from assistant.settings import load_settings
from course_guard import grounding
from course_guard.support import reread
from course_guard.support.reread import RereadVerifier
from evals.judges.overlap import EMBEDDER, claim_of, given_passage
from evals.solvers import identity
from knowledge import lexical, sentences
from knowledge.embedding import Embedder, SentenceEmbedder
from knowledge.lexical import terms


class RereadJudge:
    """The chat model of the settings reads what overlap finds something for; what it finds nothing for keeps a tenth of that.

    Args:
        embedder: of the sentences.
    """

    threshold = 0.5  # where the verifier lets a sentence stand

    def __init__(self, embedder: Embedder) -> None:
        settings = load_settings()
        self._verifier = RereadVerifier(embedder, chat_model(settings))
        code = [getsource(module) for module in (grounding, reread, lexical, sentences)]
        version = sha256("".join((*code, str(identity.of_model_calls(settings)))).encode()).hexdigest()[:12]
        self.identity = f"reread:{version}:{embedder.identity}"

    def support(self, sentences: Sequence[str], passages: Sequence[str], question: str = "") -> list[float]:
        """As in Judge; a sentence without a content word claims nothing that could be unsupported: 1."""
        checker = self._verifier.against([given_passage(n, text) for n, text in enumerate(passages)], question)
        return [self._one(checker, claim_of(text)) if terms(text) else 1.0 for text in sentences]

    def _one(self, checker: grounding.Checker, claim: str) -> float:
        found = checker.check(claim)
        asked = found.citations or found.reason == reread.DENIED
        return round(found.probability if asked else found.probability / 10, 4)


def reread_judge() -> RereadJudge:
    """With the embedder that Lectern ships with.

    Raises:
        MissingModel: its weights or those of the chat model are not here.
    """
    return RereadJudge(SentenceEmbedder(model_path(EMBEDDER)))
