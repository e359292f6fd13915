"""The trained verifier of the guard as a judge: encoder, exact checks and overlap, calibrated."""

from collections.abc import Sequence
from hashlib import sha256
from inspect import getsource

from assistant.models import model_path
from course_guard.support import calibration, cascade, encoder, exact, features, opposites
from course_guard.support.calibration import Calibration, read_calibration
from course_guard.support.cascade import TrainedVerifier
from course_guard.support.encoder import Encoder, PairReader
from evals.judges.overlap import EMBEDDER, given_passage
from knowledge import lexical, sentences
from knowledge.embedding import Embedder, SentenceEmbedder
from knowledge.lexical import terms


class TrainedJudge:
    """course_guard's TrainedVerifier, with the threshold that its calibration has fitted.

    Args:
        embedder: the same as the verifier's.
        reader: the encoder; None judges without it.
        fitted: the calibration.
    """

    def __init__(self, embedder: Embedder, reader: PairReader | None, fitted: Calibration) -> None:
        self._verifier = TrainedVerifier(embedder, reader, calibration=fitted)
        self.threshold = self._verifier.threshold
        code = [getsource(module) for module in (calibration, cascade, encoder, exact, features, opposites, lexical, sentences)]
        version = sha256("".join((*code, fitted.model_dump_json())).encode()).hexdigest()[:12]
        self.identity = f"trained:{version}:{reader.identity if reader else 'no encoder'}:{embedder.identity}"

    def support(self, sentences: Sequence[str], passages: Sequence[str], question: str = "") -> list[float]:
        """As in Judge; a sentence without a content word claims nothing that could be unsupported: 1."""
        checker = self._verifier.against([given_passage(n, text) for n, text in enumerate(passages)], question)
        return [round(checker.check(text).probability, 4) if terms(text) else 1.0 for text in sentences]


def trained_judge(with_encoder: bool = True) -> TrainedJudge:
    """With embedder, encoder and calibration as Lectern ships them.

    Raises:
        CourseError: one of them is not here.
    """
    reader = Encoder() if with_encoder else None
    return TrainedJudge(SentenceEmbedder(model_path(EMBEDDER)), reader, read_calibration())
