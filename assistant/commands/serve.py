"""`lectern serve`: the web page."""

import os
import socket
import sys
import threading
import webbrowser
from typing import TYPE_CHECKING, Annotated

import typer

from knowledge.errors import CourseError

if TYPE_CHECKING:
    import uvicorn

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_ANY = {"0.0.0.0", "::"}  # noqa: S104  recognised, not bound


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in, without a login.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free port.")] = 8000,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = False,
) -> None:
    """Serve the web page until Ctrl-C.

    Examples:
        lectern serve --open

        lectern serve --port 8080
    """
    listener = listen(host, port)
    port = listener.getsockname()[1]
    url = f"http://{_written(_own_name(host))}:{port}"
    try:
        server = _server(host, url, open_browser)
        server.run(sockets=[listener])
    except KeyboardInterrupt:  # uvicorn has ended in good order and passes the signal on
        pass
    finally:
        listener.close()
    typer.echo("\nStopped.")


def listen(host: str, port: int) -> socket.socket:
    """A bound socket, so that a busy port is known before anything is loaded.

    Raises:
        CourseError: the address is taken, reserved or not of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        if os.name == "posix":  # elsewhere it would let two programs share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except PermissionError as error:
        raise CourseError(
            f"Port {port} needs administrator's rights.", "Choose one above 1023: lectern serve --port 8000"
        ) from error
    except socket.gaierror as error:
        raise CourseError(f"{host} is not an address.", "Try: lectern serve --host 127.0.0.1") from error
    except OSError as error:
        remedy = (
            f"Stop the program that uses it, or choose another port: lectern serve --port {port + 1 if port < 65535 else 0}"
        )
        raise CourseError(f"Cannot listen on {host}, port {port}: {error.strerror}.", remedy) from error
    return listener


def _server(host: str, url: str, open_browser: bool) -> "uvicorn.Server":
    typer.echo("Starting the page ...")
    import uvicorn  # after the message: these imports take seconds

    from assistant.web.server import create_app

    hosts = None if host in _ANY else {*_LOOPBACK, host.lower()}
    app = create_app(hosts, url)

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                _announce(host, url, open_browser)

    return Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3))


def _announce(host: str, url: str, open_browser: bool) -> None:
    typer.echo(f"Lectern is at {url}\nCtrl-C stops it. Course and model are being loaded; the page is already there.")
    if host not in _LOOPBACK:
        typer.echo("Anybody who can reach this address can read the course and ask: there is no login.")
    if open_browser and _has_display():
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def _own_name(host: str) -> str:
    return "127.0.0.1" if host in _ANY else host


def _written(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _has_display() -> bool:
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
