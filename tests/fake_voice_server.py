"""The fake server with ears and a voice that need no weights: python fake_voice_server.py DATA_DIR."""

import sys
import types
from pathlib import Path


def main() -> None:
    """Put the fakes in the place of the engines, then serve."""
    root = Path(__file__).resolve().parents[1]
    sys.path[:0] = [str(root), str(root / "guardrails")]
    import fake_server
    from fake_voice import FakeEars, FakeVoice, loudness

    from assistant.voice import conversation
    from knowledge.errors import CourseError

    data_dir = Path(sys.argv[1])

    def recogniser(*_: object) -> FakeEars:
        if (data_dir / "deaf").exists():
            raise CourseError("The weights of faster-whisper-base are not here.", "Run: make voice")
        return FakeEars()

    ears, mouth = (types.ModuleType(f"assistant.voice.{name}") for name in ("listening", "speaking"))
    ears.course_recogniser, mouth.voice = recogniser, lambda _: FakeVoice()  # type: ignore[attr-defined]
    sys.modules |= {module.__name__: module for module in (ears, mouth)}
    conversation.SpeechDetector = lambda: loudness  # type: ignore[assignment,misc]
    fake_server.main(data_dir)


if __name__ == "__main__":
    main()
