"""The manifest, the cache and the command `lectern models`. No network, no weights."""

import hashlib
import json
from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from assistant import fetch, models
from assistant.commands.models import app
from knowledge.errors import MissingModel

# What the makers publish: the largest file of each model, its bytes and its SHA-256.
PINNED = {
    "qwen2.5-coder-1.5b-instruct-q4_k_m": (
        "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        1_117_320_768,
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    ),
    "qwen2.5-coder-0.5b-instruct-q4_k_m": (
        "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        491_400_064,
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    ),
    "smollm2-135m-instruct": (
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        98_362_432,
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "all-minilm-l6-v2": (
        "model.safetensors",
        90_868_376,
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    "faster-whisper-tiny.en": (
        "model.bin",
        75_537_502,
        "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    ),
    "faster-whisper-base": (
        "model.bin",
        145_217_532,
        "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
    ),
    "piper-en_us-joe-medium": (
        "en_US-joe-medium.onnx",
        63_201_294,
        "58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06",
    ),
}


def spec_of(name: str, contents: dict[str, bytes], default: bool = False) -> models.ModelSpec:
    """A model with these small files."""
    return models.ModelSpec.model_validate(
        {
            "name": name,
            "task": "chat",
            "licence": "Apache-2.0",
            "note": "small",
            "default": default,
            "hub": {"repo": "somebody/small", "revision": "abc"},
            "carrier": {"package": "small", "version": "1.0"},
            "files": [
                {"name": file, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                for file, data in contents.items()
            ],
        }
    )


SINGLE = spec_of("single", {"weights.gguf": b"one file"}, default=True)
SEVERAL = spec_of("several", {"weights.bin": b"first", "sub/config.json": b"{}"}, default=True)
EXTRA = spec_of("extra", {"voice.onnx": b"hello"})


def place(spec: models.ModelSpec, name: str, data: bytes) -> Path:
    """Write one file of a model into the cache."""
    path = models.model_folder(spec) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and a manifest of three small models."""
    monkeypatch.setenv("LECTERN_MODELS_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(models, "manifest", lambda: {spec.name: spec for spec in (SINGLE, SEVERAL, EXTRA)})
    return tmp_path / "cache"


def test_manifest_pins_what_the_makers_publish() -> None:
    manifest = models.manifest()
    found = {name: max(spec.files, key=lambda file: file.bytes) for name, spec in manifest.items()}
    assert {name: (file.name, file.bytes, file.sha256) for name, file in found.items()} == PINNED


def test_manifest_defaults_are_one_chat_model_and_the_embedder() -> None:
    defaults = {spec.name for spec in models.manifest().values() if spec.default}
    assert defaults == {"qwen2.5-coder-1.5b-instruct-q4_k_m", "all-minilm-l6-v2"}


@pytest.mark.parametrize("name", PINNED)
def test_manifest_pins_every_source(name: str) -> None:
    spec = models.manifest()[name]
    assert len(spec.hub.revision) == 40 and set(spec.hub.revision) <= set("0123456789abcdef")
    assert len({file.name for file in spec.files}) == len(spec.files)
    for file in spec.files:
        assert not file.name.startswith("/") and ".." not in Path(file.name).parts
        assert (file.pieces > 1) == ("{n}" in file.member) == (file.piece_bytes > 0)
        assert (file.pieces - 1) * file.piece_bytes < file.bytes <= file.pieces * max(file.piece_bytes, file.bytes)
    assert ("{n}" in spec.carrier.package) == any(file.pieces > 1 for file in spec.files)


@pytest.mark.parametrize("change", [{"colour": "red"}, {"hub": {"repo": "a/b"}}, {"files": []}, {"task": "dance"}])
def test_a_wrong_row_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        models.ModelSpec.model_validate(SINGLE.model_dump() | change)


def test_a_hash_that_is_not_one_is_refused() -> None:
    with pytest.raises(ValidationError):
        models.ModelFile(name="a", bytes=1, sha256="ABC")


def test_cache_dir_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LECTERN_MODELS_DIR", str(tmp_path))
    assert models.cache_dir() == tmp_path
    monkeypatch.delenv("LECTERN_MODELS_DIR")
    assert models.cache_dir().parts[-2:] == ("lectern", "models")


def test_model_path_is_the_file_of_one_and_the_folder_of_several(cache: Path) -> None:
    weights = place(SINGLE, "weights.gguf", b"one file")
    place(SEVERAL, "weights.bin", b"first")
    place(SEVERAL, "sub/config.json", b"{}")
    assert models.model_path("single") == weights
    assert models.model_path("several") == cache / "several"


def test_model_path_takes_the_path_of_a_gguf(cache: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(b"GGUF")
    assert models.model_path(str(own)) == own
    with pytest.raises(MissingModel, match="other.gguf"):
        models.model_path(str(tmp_path / "other.gguf"))


def test_missing_models_name_the_remedy(cache: Path) -> None:
    with pytest.raises(MissingModel) as absent:
        models.model_path("single")
    assert "lectern models pull single" in absent.value.remedy
    with pytest.raises(MissingModel, match="'nothing'.*single"):
        models.model_path("nothing")


def test_state_goes_from_absent_to_partial_to_cached(cache: Path) -> None:
    assert models.state(SEVERAL) == "absent"
    place(SEVERAL, "weights.bin.part", b"fir")
    assert models.state(SEVERAL) == "partial"
    place(SEVERAL, "weights.bin", b"first")
    assert models.state(SEVERAL) == "partial"
    place(SEVERAL, "sub/config.json", b"{}")
    assert models.state(SEVERAL) == "cached"
    place(SEVERAL, "weights.bin", b"fir")
    assert models.state(SEVERAL) == "partial"


def test_verify_finds_a_changed_byte_and_reports_progress(cache: Path) -> None:
    place(SEVERAL, "weights.bin", b"firsT")
    place(SEVERAL, "sub/config.json", b"{}")
    heard: list[tuple[str, int, int]] = []
    assert [file.name for file in models.verify(SEVERAL, lambda *call: heard.append(call))] == ["weights.bin"]
    assert heard == [("checking weights.bin", 5, 5), ("checking sub/config.json", 2, 2)]


def test_list_prints_states_and_marks_defaults(cache: Path) -> None:
    place(SINGLE, "weights.gguf", b"one file")
    printed = CliRunner().invoke(app, ["list"]).output
    rows = {line.split()[0]: line.split()[-1] for line in printed.splitlines() if "Apache" in line}
    assert rows == {"single*": "cached", "several*": "absent", "extra": "absent"}
    read = json.loads(CliRunner().invoke(app, ["list", "--json"]).output)
    assert [(row["name"], row["bytes"], row["state"], row["default"]) for row in read] == [
        ("single", 8, "cached", True),
        ("several", 7, "absent", True),
        ("extra", 5, "absent", False),
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [([], ["single", "several"]), (["--all"], ["single", "several", "extra"]), (["extra"], ["extra"])],
)
def test_pull_takes_the_defaults_or_what_is_named_and_asks_the_hub_once(
    cache: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: list[str]
) -> None:
    pulled, asked = [], []

    def find_source(spec: models.ModelSpec) -> fetch.Source:
        asked.append(spec.name)
        return "packages"

    def pull(spec: models.ModelSpec, on_progress: models.Progress, source: fetch.Source, repair: bool) -> None:
        on_progress(spec.files[0].name, 1, 2)
        pulled.append((spec.name, source, repair))

    monkeypatch.setattr(fetch, "find_source", find_source)
    monkeypatch.setattr(fetch, "pull", pull)
    result = CliRunner().invoke(app, ["pull", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    assert pulled == [(name, "packages", False) for name in expected]
    assert asked == expected[:1]


def test_pull_of_what_is_cached_asks_nobody(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place(SINGLE, "weights.gguf", b"one file")
    monkeypatch.setattr(fetch, "find_source", None)
    monkeypatch.setattr(fetch, "pull", None)
    result = CliRunner().invoke(app, ["pull", "single"], catch_exceptions=False)
    assert result.exit_code == 0 and "single: ready" in result.output


def test_an_interrupted_pull_says_that_it_goes_on(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pull(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fetch, "pull", pull)
    result = CliRunner().invoke(app, ["pull", "single", "--from", "hub"])
    assert result.exit_code == 130 and "goes on from here" in result.output


def test_verify_fails_on_damage_and_says_how_to_mend_it(cache: Path) -> None:
    place(SINGLE, "weights.gguf", b"one file")
    assert CliRunner().invoke(app, ["verify"]).exit_code == 0
    place(SINGLE, "weights.gguf", b"one FILE")
    result = CliRunner().invoke(app, ["verify"])
    assert result.exit_code == 1
    assert "damaged: weights.gguf" in result.output and "pull --repair single" in result.output


def test_verify_of_a_named_model_that_is_absent_fails(cache: Path) -> None:
    assert CliRunner().invoke(app, ["verify"]).exit_code == 0
    assert CliRunner().invoke(app, ["verify", "several"]).exit_code == 1


def test_path_prints_the_place_or_raises_the_remedy(cache: Path) -> None:
    weights = place(SINGLE, "weights.gguf", b"one file")
    assert CliRunner().invoke(app, ["path", "single"]).output.strip() == str(weights)
    assert isinstance(CliRunner().invoke(app, ["path", "extra"]).exception, MissingModel)


@pytest.mark.parametrize("command", ["list", "pull", "verify", "path"])
def test_help_teaches_by_example(command: str) -> None:
    assert f"lectern models {command}" in CliRunner().invoke(app, [command, "--help"]).output
