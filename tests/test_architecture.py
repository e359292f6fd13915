"""What holds the parts together: import directions, light starts, names that do not collide, a map that is true."""

import re
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("knowledge", "guardrails", "assistant", "evals", "finetune")
HEAVY = ("torch", "chromadb", "llama_cpp", "chainlit", "transformers", "sentence_transformers", "langchain_core", "bm25s")


def run_python(code):
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_packages_import_in_one_direction():
    # In a process of its own: it switches the loggers of this one off.
    code = "from importlinter.cli import lint_imports; print('status', lint_imports(config_filename='pyproject.toml'))"
    assert run_python(code).endswith("status 0\n")


def test_our_folder_does_not_shadow_the_guardrails_library():
    assert not (ROOT / "guardrails" / "__init__.py").exists()
    if find_spec("guardrails").origin is None:
        pytest.skip("the library guardrails-ai is not installed")
    origin = run_python("from importlib.util import find_spec; print(find_spec('guardrails').origin)").strip()
    assert origin.endswith("__init__.py")
    assert "site-packages" in origin


def test_the_command_starts_light_and_offline():
    loaded = run_python(
        "import sys\n"
        "def refuse(event, args):\n"
        "    if event in ('socket.connect', 'socket.sendto', 'socket.getaddrinfo'):\n"
        "        raise RuntimeError(f'{event} {args}')\n"
        "sys.addaudithook(refuse)\n"
        "import assistant.cli\n"
        "print(*sys.modules)"
    ).split()
    assert "assistant.commands.ask" in loaded
    assert [name for name in HEAVY if name in loaded] == []


def test_no_module_of_assistant_is_named_like_a_library():
    # `chainlit run assistant/app.py` would put the folder first on sys.path.
    libraries = {name for name, owners in packages_distributions().items() if owners != ["lectern"]}
    ours = {path.stem for path in (ROOT / "assistant").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert ours & (libraries | sys.stdlib_module_names) - {"__init__"} == set()


# The map of files in README


def mapped(readme):
    """Paths in the map: a file, or a folder with a slash at the end that stands for everything below."""
    block = re.search(r"^#+ Map of files\n.*?^```text\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert block, "README has no ```text block under a heading `Map of files`"
    words = [line.split()[0] for line in block[1].splitlines() if line.strip()]
    return [word for word in words if "/" in word or "." in word]


def faults(paths, files):
    """What is wrong with a map of these files."""
    for path in sorted(set(paths)):
        if paths.count(path) > 1:
            yield f"{path} stands twice in the map"
        below = [file for file in files if file.startswith(path)] if path.endswith("/") else [path] * (path in files)
        if not below:
            yield f"{path} stands in the map but does not exist"
    folders = tuple(path for path in paths if path.endswith("/"))
    ours = [file for file in files if file.startswith(tuple(f"{package}/" for package in PACKAGES))]
    for file in sorted(file for file in ours if file.endswith(".py") and not file.endswith("__init__.py")):
        if file not in paths and not file.startswith(folders):
            yield f"{file} does not stand in the map"


def test_the_map_in_readme_names_every_file():
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    files = {file for file in listed if (ROOT / file).exists()}
    assert list(faults(mapped((ROOT / "README.md").read_text(encoding="utf-8")), files)) == []


def test_a_wrong_map_is_noticed():
    readme = (
        "# Lectern\n## Map of files\nSome words.\n```text\n"
        "knowledge/a.py        cuts\nknowledge/loaders/    reads\nassistant/gone.py     went\nknowledge/a.py\n```\n"
    )
    paths = mapped(readme)
    assert paths == ["knowledge/a.py", "knowledge/loaders/", "assistant/gone.py", "knowledge/a.py"]
    files = {
        "knowledge/a.py",
        "knowledge/__init__.py",
        "knowledge/loaders/pdf.py",
        "evals/b.py",
        "tests/test_a.py",
        "README.md",
    }
    assert list(faults(paths, files)) == [
        "assistant/gone.py stands in the map but does not exist",
        "knowledge/a.py stands twice in the map",
        "evals/b.py does not stand in the map",
    ]
    with pytest.raises(AssertionError, match="no ```text block"):
        mapped("# Lectern\n")
