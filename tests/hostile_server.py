"""Serves the page as in the worst case: python hostile_server.py DATA_DIR.

All is real, the toy course, the upload, the guards and the chain, except for a model that recites its whole prompt, with
everything hostile in question and course, and a verifier that believes every word of it.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

POLICY = '[input.injection]\naction = "off"\n[input.rate]\naction = "off"\n'  # every question is to get through
_PIECE, _MOST = 150, 2500  # characters: of a piece, and of each part of the prompt
ROOT = Path(__file__).resolve().parents[1]


class Reciter:
    """A chat model as far as the chain uses one: it recites the prompt, the question first and its instructions last."""

    def stream(self, messages: Sequence[Any], **_: Any) -> Iterator[Any]:
        """In pieces that are larger than tokens, because there is much of it."""
        from langchain_core.messages import AIMessageChunk

        contents = [[{"text": m.content}] if isinstance(m.content, str) else m.content for m in messages]
        blocks = [block["text"][:_MOST] for content in contents for block in content]
        text = "\n\n".join(reversed(blocks))
        for start in range(0, len(text), _PIECE):
            yield AIMessageChunk(text[start : start + _PIECE])


class Believer:
    """Speaks course_guard.grounding.Verifier: the first passage supports everything."""

    def against(self, passages: Sequence[Any], question: str) -> "Believer":
        """Itself."""
        self._first = passages[0]
        return self

    def check(self, text: str) -> Any:
        """Full support."""
        from course_guard.grounding import Support
        from knowledge.passage import Citation

        first = self._first
        return Support(1.0, (Citation(1, first, first.text[:20], first.start, first.start + len(first.text[:20])),))


def chain_over(index: Any, history: Any, policy_file: Path) -> Any:
    """The assistant of the worst case over an index."""
    from assistant.chain import CourseChain
    from assistant.guards import make_guards
    from knowledge.evidence import EvidencePlanner
    from knowledge.retrieval import CourseRetriever

    return CourseChain(
        CourseRetriever(index=index, k=20),
        EvidencePlanner(index),
        Reciter(),  # type: ignore[arg-type]
        Believer(),
        history,
        model_name="reciter",
        guards=make_guards(policy_file, index.embedder),
    )


def main(data_dir: Path) -> None:
    """Serve until terminated."""
    sys.path[:0] = [str(ROOT), str(ROOT / "guardrails")]
    from conftest import COURSE, BagOfWordsEmbedder
    from fake_server import run

    import assistant.runtime as runtime_module
    import knowledge.calibration
    from assistant.history import History
    from assistant.settings import EngineSettings, Settings, go_offline
    from assistant.web.server import create_app
    from knowledge.index import CourseIndex
    from knowledge.ingest import ingest

    go_offline()
    settings = Settings(data_dir=data_dir, engine=EngineSettings(warm=False))
    settings.policy_file.parent.mkdir(parents=True, exist_ok=True)
    settings.policy_file.write_text(POLICY)
    course = data_dir / "course"
    course.mkdir(parents=True)
    for name, text in COURSE.items():
        (course / name).write_text(text, encoding="utf-8")
    index, history = CourseIndex(settings.index_dir, BagOfWordsEmbedder()), History(settings.history_file)
    ingest(index, [course])
    chain = chain_over(index, history, settings.policy_file)
    runtime = runtime_module.Runtime(settings, index, history, chain, SimpleNamespace())  # type: ignore[arg-type]
    runtime_module.runtime = lambda: runtime  # type: ignore[assignment]
    runtime_module.warm = lambda ready: ready.chain.warm_guards()
    knowledge.calibration.recalibrate_if_stale = lambda *_: None  # type: ignore[assignment]
    run(create_app({"127.0.0.1"}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
