"""A server that speaks OpenAI's chat completions over a socket, with everything that can go wrong there."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "small"


class FakeOpenAI(ThreadingHTTPServer):
    """Streams `pieces`, one a chunk, or does as `fault` says.

    Attributes:
        pieces: of every answer.
        finish: the reason that it gives.
        usage: what it says of tokens; None says nothing.
        statuses: replied instead, one for each request; then answers go on.
        fault: "cut" closes the connection after the first piece, "end" ends the stream there without a reason, "error" says
            there that something is wrong, "silent" says nothing more from there, "mute" from the beginning; "page" is HTML.
        requests, headers, paths: what was asked.
        asked: set when a question has come.
        left: set when somebody has closed the connection before the end.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pieces = ["Bees ", "dance."]
        self.finish = "stop"
        self.usage: dict[str, Any] | None = {
            "prompt_tokens": 40,
            "completion_tokens": 2,
            "total_tokens": 42,
            "prompt_tokens_details": {"cached_tokens": 30},
        }
        self.logprobs: list[dict[str, Any]] = []  # of every piece
        self.statuses: list[int] = []
        self.fault = ""
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.asked, self.left, self.closing = threading.Event(), threading.Event(), threading.Event()

    @property
    def url(self) -> str:
        """Its base."""
        return f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def name(self) -> str:
        """As settings.model.name."""
        return f"openai:{self.url}#{MODEL}"


@contextmanager
def serving() -> Iterator[FakeOpenAI]:
    """The server, while the block runs."""
    server = FakeOpenAI()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    server: FakeOpenAI
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """The list of models."""
        self._noted()
        if self.path != "/v1/models":
            self._json(404, {"error": {"message": "Not Found"}})
        elif self.server.statuses:
            self._json(self.server.statuses.pop(0), {"error": {"message": "no"}})
        else:
            self._json(200, {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "us"}]})

    def do_POST(self) -> None:
        """An answer."""
        self._noted()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(body)
        self.server.asked.set()
        if self.path != "/v1/chat/completions":
            self._json(404, {"error": {"message": "Not Found"}})
        elif self.server.statuses:
            self._refuse(self.server.statuses.pop(0))
        elif body["model"] != MODEL:
            self._json(404, {"error": {"message": f"The model `{body['model']}` does not exist."}})
        elif self.server.fault == "page":
            self._send(200, "text/html", b"<html>Welcome</html>")
        elif self.server.fault == "mute":
            self._wait()
        else:
            self._stream()

    def _refuse(self, status: int) -> None:
        if status == 307:
            self.send_response(307)
            self.send_header("Location", "http://192.0.2.1/v1/chat/completions")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._json(status, {"error": {"message": f"no, {self.headers.get('Authorization')}"}})

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._chunk({"role": "assistant", "content": ""})
        for piece in self.server.pieces:
            self._chunk({"content": piece})
            match self.server.fault:
                case "cut":
                    self.close_connection = True
                    return
                case "end":
                    self._end()
                    return
                case "error":
                    self._event(json.dumps({"error": {"message": "out of memory", "type": "server_error"}}))
                    self._end()
                    return
                case "silent":
                    self._wait()
                    return
        self._chunk({}, self.server.finish)
        if self.server.usage:
            self._event(json.dumps(self._frame([], usage=self.server.usage)))
        self._end()

    def _frame(self, choices: list[Any], **more: Any) -> dict[str, Any]:
        return {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": MODEL, "choices": choices, **more}

    def _chunk(self, delta: dict[str, str], finish: str | None = None) -> None:
        choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": finish}
        if self.server.logprobs and delta.get("content"):
            choice["logprobs"] = {"content": self.server.logprobs}
        self._event(json.dumps(self._frame([choice])))

    def _event(self, data: str) -> None:
        block = f"data: {data}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
        self.wfile.flush()

    def _end(self) -> None:
        self._event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def _wait(self) -> None:
        """Until the other side has gone."""
        self.connection.settimeout(0.02)
        while not self.server.closing.is_set():
            try:
                if not self.connection.recv(1):
                    self.server.left.set()
                    break
            except TimeoutError:
                continue
            except OSError:
                self.server.left.set()
                break
        self.close_connection = True

    def _noted(self) -> None:
        self.server.paths.append(self.path)
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})

    def _json(self, status: int, value: Any) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Nothing."""
