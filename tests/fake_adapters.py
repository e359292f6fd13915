"""Adapters on disk as finetune/adapters.py leaves them, of a base that is a file of a few bytes."""

import json
from hashlib import sha256
from pathlib import Path

from assistant.adapters import Adapter, adapters_dir, find_adapter
from assistant.settings import Settings

LESSONS = [f"course/{number:02d}.md" for number in range(12)]


def settings_with_base(folder: Path, adapter: str = "promoted") -> Settings:
    """Settings whose chat model is a file that no engine could load."""
    base = folder / "base.gguf"
    if not base.exists():
        base.write_bytes(b"weights")
    return Settings(data_dir=folder / "data", model={"name": str(base), "adapter": adapter})


def make_adapter(settings: Settings, id_: str, base: str | None = None, **manifest: object) -> Adapter:
    """An adapter that fits; `manifest` changes keys, None removes one."""
    folder = adapters_dir(settings) / id_
    folder.mkdir(parents=True)
    name = base or settings.model.name
    weights = f"adapter {id_}".encode()
    (folder / "adapter.gguf").write_bytes(weights)
    found = {
        "id": id_,
        "run": id_,
        "kind": "sft",
        "made": f"2026-01-{len(list(folder.parent.glob('*/'))):02d}T10:00:00+00:00",
        "base": name,
        "base_sha256": sha256(Path(name).read_bytes()).hexdigest(),
        "sha256": sha256(weights).hexdigest(),
        "data_sha256": "da" * 32,
        "config_sha256": "c0" * 32,
        "held_lessons": LESSONS,
        "trials": [],
        **manifest,
    }
    found = {key: value for key, value in found.items() if value is not None}
    (folder / "manifest.json").write_text(json.dumps(found))
    return find_adapter(settings, id_)
