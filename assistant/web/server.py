"""The web application: our own routes first, then Chainlit's page at "/"."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from fastapi import FastAPI

from assistant.web import app_root, ready
from assistant.web.same_origin import SameOrigin


def create_app(hosts: Collection[str] | None = None, origin: str = "") -> FastAPI:
    """Build the application; loading of index and models begins when it starts.

    Chainlit is one module with one state, so a process can serve one page only. It is mounted by hand and not with
    `mount_chainlit`, which would load assistant/app.py with its folder first on sys.path, where our modules hide libraries.

    Args:
        hosts: names under which the page may be addressed; None takes any.
        origin: where the page is served, for Chainlit's CORS header; "" allows no other.

    Raises:
        CourseError: the page's files are missing.
    """
    app_root.prepare()
    import chainlit.config

    chainlit.config.config.project.allow_origins = [origin] if origin else []
    from chainlit.server import app as chainlit_app

    import assistant.app  # noqa: F401  registers the handlers

    app = FastAPI(title="Lectern", lifespan=_lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(SameOrigin, hosts=hosts)

    @app.get("/healthz")
    def healthz() -> dict[str, object]:
        """Alive, and whether a question would be answered without loading first."""
        return {"status": "ok", "ready": ready.is_warm()}

    app.mount("/", chainlit_app)
    return app


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    ready.start()
    try:
        yield
    finally:
        from chainlit.user_session import user_sessions

        for session in user_sessions.values():  # so that Ctrl-C does not wait for an answer under way
            if stop := session.get("stop"):
                stop.set()
        app_root.remove()
