"""The guard's own check as a judge. Where it judges what the guard has let pass, it can only agree with itself."""

import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from inspect import getsource

import numpy as np

from assistant.models import model_path
from course_guard import grounding
from course_guard.grounding import OverlapVerifier
from course_guard.settings import GroundingSettings
from knowledge import lexical, sentences
from knowledge.embedding import Embedder, SentenceEmbedder, Vectors
from knowledge.lexical import terms
from knowledge.passage import Passage

EMBEDDER = "all-minilm-l6-v2"
THRESHOLD = 0.52  # best F1 on the dev half of RAGTruth-QA: of sentences 0.520, of responses 0.529; the guard's is stricter
_MOST_VECTORS = 40_000  # 1.5 kB each
# "2." before a list item and "passage 2" name things; the check would look for the number in the passages.
_LIST_MARK = re.compile(r"\A\s*(?:[-*+•]|\d{1,2}[.)])(?:\s+|\Z)")
_PASSAGE_NAMES = re.compile(r"\b(passages?|sources?)\s+\[?\d{1,2}\b\]?(?:\s*(?:,|and|&|-|–)+\s*\d{1,2}\b)*", re.IGNORECASE)


class OverlapJudge:
    """course_guard's OverlapVerifier with a threshold of its own.

    Neither settings nor embedder are those of the run: a variant with another threshold must not be judged by another judge.
    """

    threshold = THRESHOLD

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = _RememberingEmbedder(embedder)
        settings = GroundingSettings(threshold=THRESHOLD)
        self._verifier = OverlapVerifier(self._embedder, settings)
        code = [getsource(module) for module in (grounding, lexical, sentences)]
        rules = (settings.model_dump_json(), _LIST_MARK.pattern, _PASSAGE_NAMES.pattern)
        version = sha256("".join((*code, *rules)).encode()).hexdigest()[:12]
        self.identity = f"overlap:{version}:{embedder.identity}"

    def support(self, sentences: Sequence[str], passages: Sequence[str], question: str = "") -> list[float]:
        """As in Judge; a sentence without a content word claims nothing that could be unsupported: 1."""
        claims = [claim_of(sentence) for sentence in sentences]
        checkable = list(dict.fromkeys(claim for claim in claims if terms(claim)))
        checker = self._verifier.against([given_passage(n, text) for n, text in enumerate(passages)], question)
        self._embedder.embed(checkable)  # in one batch; check() then finds them
        checked = {claim: round(checker.check(claim).probability, 4) for claim in checkable}
        return [checked.get(claim, 1.0) for claim in claims]


def overlap_judge() -> OverlapJudge:
    """With the embedder that Lectern ships with.

    Raises:
        MissingModel: its weights are not here.
    """
    return OverlapJudge(SentenceEmbedder(model_path(EMBEDDER)))


class _RememberingEmbedder:
    """Speaks Embedder; embeds no text twice, as several answers are judged against the same passages."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._known: dict[str, Vectors] = {}
        self.identity = embedder.identity
        self.count_tokens = embedder.count_tokens

    def embed(self, texts: Sequence[str]) -> Vectors:
        if len(self._known) > _MOST_VECTORS:
            self._known.clear()  # a run goes through its sources in order: what was long ago is not needed again
        self._learn(text for text in dict.fromkeys(texts) if text not in self._known)
        return np.stack([self._known[text] for text in texts]) if texts else self._embedder.embed(texts)

    def _learn(self, texts: Iterable[str]) -> None:
        if new := list(texts):
            self._known.update(zip(new, self._embedder.embed(new), strict=True))


def claim_of(sentence: str) -> str:
    """A sentence without its list mark and without the numbers of passages."""
    return _PASSAGE_NAMES.sub(r"\1", _LIST_MARK.sub("", sentence))


def given_passage(number: int, text: str) -> Passage:
    """A bare text as a passage."""
    return Passage(f"{number}", "", "", "", "", (), None, None, 0, len(text), text, 0)
