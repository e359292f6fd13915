"""The folder that Chainlit works in. Call `prepare` before anything imports chainlit."""

import atexit
import json
import os
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from knowledge.errors import CourseError

# What Chainlit is to serve: at the top of the repository, or where the wheel puts it.
_PLACES = (Path(__file__).resolve().parents[2], Path(__file__).resolve().with_name("root"))
_WORDING = Path(__file__).with_name("wording.json")


def prepare() -> Path:
    """Give Chainlit a private copy of what it serves, and return that folder.

    On import Chainlit writes into its root: twenty translations, and a place for uploads. The copy keeps the repository
    clean, works where the installation is read-only, and disappears with the process.

    Raises:
        CourseError: the page's files are not where this installation should have them.
    """
    if "chainlit" in sys.modules:
        return Path(os.environ["CHAINLIT_APP_ROOT"])
    ours = next((place for place in _PLACES if (place / ".chainlit" / "config.toml").is_file()), None)
    if ours is None:
        raise CourseError(f"The web page's files are missing from {_PLACES[0]}.", "Install Lectern again.")
    root = Path(tempfile.mkdtemp(prefix="lectern-web-"))
    atexit.register(remove)
    shutil.copytree(ours / "public", root / "public")
    translations = root / ".chainlit" / "translations"
    translations.mkdir(parents=True)
    shutil.copyfile(ours / ".chainlit" / "config.toml", translations.parent / "config.toml")
    (translations / "en-US.json").write_text(json.dumps(_wording()), encoding="utf-8")
    # Under its localised name too: Chainlit logs a warning at every visit when it has to fall back.
    for name in ("chainlit.md", "chainlit_en-US.md"):
        shutil.copyfile(ours / "chainlit.md", root / name)
    os.environ["CHAINLIT_APP_ROOT"] = str(root)
    return root


def remove() -> None:
    """Delete the folder; for the end of the server, since a process that is terminated runs no exit handlers."""
    shutil.rmtree(os.environ["CHAINLIT_APP_ROOT"], ignore_errors=True)


def _wording() -> dict[str, Any]:
    """Chainlit's English with our words for some of it."""
    package = find_spec("chainlit")
    if package is None or package.origin is None:
        raise CourseError("Chainlit is not installed.", "Install Lectern again.")
    wording = json.loads(Path(package.origin).with_name("translations").joinpath("en-US.json").read_text(encoding="utf-8"))
    return _merged(wording, json.loads(_WORDING.read_text(encoding="utf-8")))


def _merged(base: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    return base | {key: _merged(base[key], value) if isinstance(value, dict) else value for key, value in ours.items()}
