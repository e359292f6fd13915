"""The fake server with real ears and a real voice: python real_voice_server.py DATA_DIR. Only the answers are a script."""

import sys
from pathlib import Path


def main() -> None:
    """Give terms and a spelling of the course, which a fake index does not have, then serve."""
    root = Path(__file__).resolve().parents[1]
    sys.path[:0] = [str(root), str(root / "guardrails")]
    import fake_server

    from assistant.voice import listening
    from assistant.voice.spelling import spelling

    listening.hints = lambda _: "dropout, regularisation"
    listening.spelling_of = lambda _: spelling(["Dropout regularises.", "How dropout does it."], len)
    fake_server.main(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
