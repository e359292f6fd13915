"""Serves the page with a fake runtime in a process of its own: python fake_server.py DATA_DIR.

Chainlit keeps one page per process in global state, and a fake must not leak into other tests. The routes under /fake show
the fake's state to the tests and change its pace.
"""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx


class Served:
    """The page while a test module runs."""

    def __init__(self, url: str, data_dir: Path) -> None:
        self.url, self.data_dir = url, data_dir

    def state(self) -> dict[str, Any]:
        """Turns asked, judgements, documents and the chosen model."""
        return httpx.get(f"{self.url}/fake/state").json()

    def pace(self, seconds: float) -> None:
        """Seconds between two events of an answer."""
        httpx.post(f"{self.url}/fake/pace", params={"seconds": seconds}).raise_for_status()

    def unload(self, seconds: float) -> None:
        """Make the next visitor wait for a model that takes so long to load."""
        httpx.post(f"{self.url}/fake/unload", params={"seconds": seconds}).raise_for_status()


@contextlib.contextmanager
def served(data_dir: Path, script: str = __file__) -> Iterator[Served]:
    """Start the server, wait for its page, end it; `script` is run with the folder and calls `run`."""
    command = [sys.executable, script, str(data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.startswith("http://"):
                    break
            else:
                raise RuntimeError("the page's server did not start; see above")
            # Whatever else it prints must be read, or it would block on a full pipe.
            threading.Thread(target=lambda: sys.stderr.writelines(process.stdout or ()), daemon=True).start()
            yield Served(line.strip(), data_dir)
        finally:
            process.terminate()
            assert process.wait(20) is not None


def main(data_dir: Path) -> None:
    """Serve until terminated; prints the address when ready."""
    root = Path(__file__).resolve().parents[1]
    sys.path[:0] = [str(root), str(root / "guardrails")]
    from fake_runtime import FakeRuntime, fake_ingest
    from fastapi.routing import APIRoute

    import assistant.runtime
    import knowledge.calibration
    import knowledge.ingest
    from assistant.settings import Settings, go_offline
    from assistant.web import ready
    from assistant.web.server import create_app

    go_offline()
    runtime = FakeRuntime(Settings(data_dir=data_dir))
    loading_s = 0.1
    assistant.runtime.runtime = lambda: runtime  # type: ignore[assignment,return-value]
    assistant.runtime.warm = lambda _: time.sleep(loading_s)
    knowledge.ingest.ingest = fake_ingest  # type: ignore[assignment]
    knowledge.calibration.recalibrate_if_stale = lambda *_: None  # type: ignore[assignment]

    def state() -> dict[str, Any]:
        turns = [
            {
                "question": t.question,
                "earlier": [e.question for e in t.earlier],
                "sources": t.sources,
                "max_tokens": t.max_tokens,
                "consent": t.consent,
            }
            for t in runtime.chain.turns
        ]
        done = [asdict(d) for d in runtime.chain.done]
        documents = [d.source for d in runtime.index.documents]
        judged, model = runtime.history.judged, runtime.settings.model.name
        return {"turns": turns, "done": done, "judged": judged, "documents": documents, "model": model}

    def pace(seconds: float) -> None:
        runtime.chain.pace = seconds

    def unload(seconds: float) -> None:
        nonlocal loading_s
        loading_s, ready._load = seconds, None

    app = create_app({"127.0.0.1"})
    routes = [("/fake/state", state, "GET"), ("/fake/pace", pace, "POST"), ("/fake/unload", unload, "POST")]
    app.router.routes[:0] = [APIRoute(path, call, methods=[method]) for path, call, method in routes]
    run(app)


def run(app: Any) -> None:
    """Serve an application until terminated; prints its address when it is ready."""
    import uvicorn

    from assistant.commands.serve import listen

    listener = listen("127.0.0.1", 0)

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)

    Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)).run(sockets=[listener])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
