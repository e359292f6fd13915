"""Only Lectern's own page may talk to Lectern, and that page may talk to nobody else.

Chainlit accepts a web socket from any origin. Without a login, any web site open in the reader's browser could then ask
questions, read the course or remove sources on 127.0.0.1; checking Host as well shuts out DNS rebinding.
"""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Custom elements are compiled in the browser, hence 'unsafe-eval'; the audio worklet is a blob.
_PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_UPLOAD_POLICY = "sandbox; default-src 'none'"  # an uploaded HTML file must not run as part of the page


class SameOrigin:
    """ASGI middleware: 403 for a foreign Host or Origin, a content security policy on every answer.

    Args:
        hosts: names under which the server may be addressed; None takes any (behind a public address they are unknown).
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass own requests on; answer foreign ones."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif not self._is_own(Headers(scope=scope)):
            await self._refuse(scope, receive, send)
        else:
            await self._app(scope, receive, _with_policy(scope, send))

    def _is_own(self, headers: Headers) -> bool:
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._hosts is not None and urlsplit(f"//{host}").hostname not in self._hosts:
            return False
        return origin is None or urlsplit(origin).netloc == host

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await PlainTextResponse("Lectern answers its own page only.", status_code=403)(scope, receive, send)


def _with_policy(scope: Scope, send: Send) -> Send:
    policy = _UPLOAD_POLICY if scope["path"].startswith("/project/file/") else _PAGE_POLICY

    async def send_with_policy(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Content-Security-Policy"] = policy
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "no-referrer"
        await send(message)

    return send_with_policy
