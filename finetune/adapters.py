"""Adapters from training runs, the pointer to the promoted one, and the way back.

An adapter's manifest.json holds what the run's holds (kind, from, config, steps, losses, versions, machine, data_sha256) and

| key | meaning |
|---|---|
| id, run, made | of the adapter; of the run that it comes from; ISO 8601 in UTC |
| base, base_sha256 | the model that it is for: name, and SHA-256 of its file |
| sha256, peft_sha256 | of adapter.gguf; of the weights as PEFT saved them |
| config_sha256 | of the hyperparameters |
| held_lessons | the lessons that were not trained on; null where nobody knows any more |
| trials | every trial by the gate, the last one last; finetune/trial.py tells the keys |

Whatever is written is written beside its place and then put there, so that whoever is killed, or finds the disk full, leaves
adapters and pointer as they were.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Literal

from filelock import FileLock, Timeout

from assistant.adapters import (
    CURRENT,
    FILE,
    HISTORY,
    MANIFEST,
    PEFT,
    Adapter,
    adapters_dir,
    base_hashes,
    check,
    find_adapter,
    list_adapters,
    promotion_log,
    promotions,
)
from assistant.models import HF, model_path, sha256_of
from assistant.settings import Settings
from finetune.rows import data_folder, read_manifest, replace_text
from knowledge.errors import CourseError

_MAKING = ".making-"
_WAIT_S = 30.0  # for another process that writes here; it takes seconds


def export(settings: Settings, run: str, base: str | None = None) -> Adapter:
    """Make the adapter of a finished run; the same one if it has been made before.

    Args:
        settings: of this process.
        run: its name, or its folder.
        base: another name of the model that it is for; needed where the run's is a Hugging Face folder.

    Raises:
        CourseError: the run has no adapter yet, its base is not the one that it was trained on, or the disk is full.
    """
    from finetune.training.run import finished_adapter, open_run

    peft, found = finished_adapter(run), open_run(run)
    trained = found.manifest
    name = base or trained["base"]
    if name.startswith(HF):
        raise CourseError(f"{found.name} was trained on {name}.", "Name the GGUF of the same model: --base NAME.")
    hashes = base_hashes(name)
    if not base and trained["base_sha256"] not in hashes:
        raise CourseError(f"{name} is not what {found.name} was trained on: it has changed since.", "Train anew.")
    own = {
        "run": found.name,
        "base": name,
        "base_sha256": min(hashes),
        "peft_sha256": sha256_of(peft / "adapter_model.safetensors", lambda _: None),
        "config_sha256": sha256(json.dumps(trained["config"], sort_keys=True).encode()).hexdigest(),
        "held_lessons": trained.get("held_lessons") or _held_lessons(settings, trained["data_sha256"]),
    }
    with writing(settings):
        for made in list_adapters(settings):
            if all(made.manifest.get(key) == own[key] for key in ("run", "base_sha256", "peft_sha256")):
                check(made, name)
                return made
        id_ = _free_id(settings, found.name)
        manifest = {**{key: value for key, value in trained.items() if key not in ("name", "state")}, **own}
        return _make(settings, id_, peft, manifest | {"id": id_, "made": now(), "trials": []})


def record(adapter: Adapter, trial: Mapping[str, Any]) -> Adapter:
    """Add a trial to the manifest of an adapter.

    Raises:
        CourseError: it cannot be written.
    """
    manifest = {**adapter.manifest, "trials": [*adapter.manifest.get("trials", ()), dict(trial)]}
    replace_text(adapter.folder / MANIFEST, _pretty(manifest))
    return Adapter(adapter.id, adapter.folder, manifest)


def promote(settings: Settings, adapter: Adapter, instead_of: str | None) -> None:
    """Let the chat answer with an adapter from its next question on.

    Args:
        settings: of this process.
        adapter: checked.
        instead_of: the id that is promoted now, or None; what the adapter was found better than.

    Raises:
        CourseError: another one has been promoted meanwhile, or the pointer cannot be written.
    """
    with writing(settings):
        stack = promotions(settings)
        if stack[-1] != instead_of:
            remedy = "Try it again: what has been computed is not computed again."
            raise CourseError(f"Meanwhile the pointer went to {stack[-1] or 'no adapter'}.", remedy)
        _point(settings, [*stack, adapter.id], "promote")


def rollback(settings: Settings) -> tuple[str | None, str | None]:
    """Go back to what was promoted before; None is the model by itself.

    Returns:
        The id that was taken back, and the one that counts again.

    Raises:
        CourseError: nothing is promoted, or the pointer cannot be written.
    """
    with writing(settings):
        stack = promotions(settings)
        if len(stack) < 2:
            raise CourseError("No adapter is promoted: there is nothing to take back.", "See: lectern finetune list")
        _point(settings, stack[:-1], "rollback")
        return stack[-1], stack[-2]


@contextmanager
def writing(settings: Settings) -> Iterator[None]:
    """Keep other processes from changing adapters or pointer.

    Raises:
        CourseError: another one does so for longer than half a minute, or the folder cannot be written.
    """
    with _locked(settings, ".writing.lock", _WAIT_S, "Another process is writing the adapters."):
        yield


@contextmanager
def trying(settings: Settings) -> Iterator[None]:
    """Keep other processes from trying adapters at the same time: both would take twice as long.

    Raises:
        CourseError: another one does so, or the folder cannot be written.
    """
    with _locked(settings, ".trying.lock", 0, "Another process is trying an adapter."):
        yield


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def held_lessons(settings: Settings, adapter: Adapter) -> list[str]:
    """The lessons that an adapter has not seen.

    Raises:
        CourseError: nobody knows any more.
    """
    if lessons := adapter.manifest.get("held_lessons"):
        return list(lessons)
    raise CourseError(
        f"The rows that {adapter.id} learnt from have changed: nobody knows which lessons it has not seen.",
        "Train anew, or name lessons that it has not seen: --lessons FILE, one a line.",
    )


def _held_lessons(settings: Settings, data_sha256: str) -> list[str] | None:
    """Of the rows that were trained on; None if they are not here any more."""
    try:
        manifest = read_manifest(data_folder(settings.finetune_dir))
    except CourseError:
        return None
    return list(manifest["held_lessons"]) if data_sha256 in manifest.get("files", {}).values() else None


def _make(settings: Settings, id_: str, peft: Path, manifest: dict[str, Any]) -> Adapter:
    from finetune.export import to_gguf_adapter

    folder = adapters_dir(settings)
    for left in folder.glob(f"{_MAKING}*"):  # by somebody who was killed
        shutil.rmtree(left, ignore_errors=True)
    scratch = Path(mkdtemp(prefix=_MAKING, dir=folder))
    try:
        scratch.chmod(0o755)  # a temporary folder is readable by its owner only
        file = to_gguf_adapter(peft, model_path(manifest["base"]), scratch / FILE)
        shutil.copytree(peft, scratch / PEFT)
        manifest |= {"sha256": sha256_of(file, lambda _: None), "bytes": file.stat().st_size}
        (scratch / MANIFEST).write_text(_pretty(manifest), encoding="utf-8")
        scratch.rename(folder / id_)
    except (OSError, shutil.Error) as error:
        raise CourseError(
            f"The adapter {id_} cannot be written: {error}.", "Check the permissions and free space of the data folder."
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return find_adapter(settings, id_)


def _free_id(settings: Settings, run: str) -> str:
    """The run's name; with a number where another adapter of it is there, as after --resume."""
    folder, number = adapters_dir(settings), 1
    while (folder / (id_ := run if number == 1 else f"{run}.{number}")).exists() or id_ in ("promoted", "none"):
        number += 1
    return id_


def _point(settings: Settings, stack: list[str | None], by: Literal["promote", "rollback"]) -> None:
    """The history first: what does not end with what the pointer names was never put into force."""
    folder = adapters_dir(settings)
    entries = [*promotion_log(settings), {"at": now(), "by": by, "stack": stack}]
    replace_text(folder / HISTORY, "".join(json.dumps(entry) + "\n" for entry in entries))
    if stack[-1] is not None:
        replace_text(folder / CURRENT, f"{stack[-1]}\n")
        return
    try:
        (folder / CURRENT).unlink(missing_ok=True)
    except OSError as error:
        raise CourseError(f"{folder / CURRENT} cannot be removed: {error.strerror}.", "Check its permissions.") from error


@contextmanager
def _locked(settings: Settings, name: str, wait_s: float, problem: str) -> Iterator[None]:
    folder = adapters_dir(settings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / name, timeout=wait_s)
        lock.acquire()
    except Timeout as error:
        raise CourseError(problem, "Wait until it has ended, then try again.") from error
    except OSError as error:
        raise CourseError(
            f"{folder} cannot be written: {error.strerror}.", "Check its permissions and the free space."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _pretty(manifest: Mapping[str, Any]) -> str:
    return json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
