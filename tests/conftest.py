"""What all tests share: a toy course, an embedder without weights, and a fence around the machine."""

import multiprocessing
import multiprocessing.forkserver
import re
import shutil
import socket
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from ipaddress import ip_address
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from knowledge.embedding import Vectors
    from knowledge.index import CourseIndex

COURSE = {
    "bayes.md": """# Bayes' theorem

Bayes' theorem turns the probability of evidence given a hypothesis into the probability of the hypothesis given evidence.
The posterior is the likelihood times the prior, divided by the evidence.

## Base rates

A rare disease stays unlikely after one positive test, because false positives of the many healthy people outnumber
the true ones.
Neglecting this is called the base rate fallacy.

| quantity | symbol | meaning |
|---|---|---|
| prior | P(H) | belief before the evidence |
| posterior | P(H given E) | belief after the evidence |
""",
    "orbits.md": """# Orbits

Kepler's first law says that every planet moves on an ellipse with the Sun in one focus.

```mermaid
graph TD; Sun --> Ellipse; Ellipse --> Planet
```

Kepler's second law says that the line from Sun to planet sweeps equal areas in equal times, so planets are fastest
at perihelion.

## Periods

Kepler's third law: the square of the period grows with the cube of the semi-major axis.

```python
def period_in_years(axis_in_au: float) -> float:
    return axis_in_au**1.5
```
""",
    "plants.md": """# Photosynthesis

Photosynthesis stores the energy of light in sugar; it happens in the chloroplasts of plant cells.
Chlorophyll absorbs red and blue light and reflects green light, e.g. in leaves.

## Light reactions

The light reactions split water, release oxygen and load ATP and NADPH. They take place in the thylakoid membranes.

## Calvin cycle

The Calvin cycle fixes carbon dioxide with the enzyme rubisco. It spends 3 ATP and 2 NADPH per molecule of carbon dioxide.
""",
}


class BagOfWordsEmbedder:
    """Speaks knowledge.embedding.Embedder: hashed words of four letters or more as a unit vector, the same in every process."""

    identity = "bag-of-words:256"
    dimension = 256

    def embed(self, texts: Sequence[str]) -> "Vectors":
        """Unit vectors, shape (len(texts), 256), float32."""
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in re.findall(r"\w{4,}", text.lower()):
                digest = int.from_bytes(blake2b(word.rstrip("s").encode(), digest_size=4).digest())
                row[digest % self.dimension] += 1 if digest >> 31 else -1
            if not row.any():
                row[0] = 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def count_tokens(self, text: str) -> int:
        """Words and marks."""
        return len(re.findall(r"\w+|[^\w\s]", text))


@pytest.fixture
def embedder() -> BagOfWordsEmbedder:
    return BagOfWordsEmbedder()


@pytest.fixture(scope="session")
def small_model() -> Path:
    """The smallest real chat model."""
    from assistant.models import model_path
    from knowledge.errors import MissingModel

    try:
        return model_path("smollm2-135m-instruct")
    except MissingModel as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def empty_chroma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chroma's folder without a vector in it: making one takes ten times as long as copying it."""
    from knowledge.store import VectorStore

    folder = tmp_path_factory.mktemp("chroma")
    VectorStore(folder, BagOfWordsEmbedder()).close()
    return folder


@pytest.fixture
def index(tmp_path: Path, embedder: BagOfWordsEmbedder, empty_chroma: Path) -> "CourseIndex":
    """An empty index with a real Chroma below it."""
    from knowledge.index import CourseIndex

    shutil.copytree(empty_chroma, tmp_path / "index" / "chroma")
    return CourseIndex(tmp_path / "index", embedder)


@pytest.fixture
def course_dir(tmp_path: Path) -> Path:
    """A folder with the three files of the toy course: bayes.md, orbits.md and plants.md."""
    folder = tmp_path / "toy"
    folder.mkdir()
    for name, text in COURSE.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def ingested(index: "CourseIndex", course_dir: Path) -> "CourseIndex":
    """The index with the toy course in it."""
    from knowledge.ingest import ingest

    report = ingest(index, [course_dir])
    assert (len(report.added), report.skipped) == (3, [])
    return index


@pytest.fixture(scope="session")
def processes() -> ForkServerContext:
    """Makes processes of their own, forked from one that has imported Chroma and opened nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["knowledge.ingest", "knowledge.retrieval", "knowledge.store", "bm25s"])
    multiprocessing.forkserver.ensure_running()  # it imports while the first test does
    return context


@pytest.fixture(autouse=True)
def own_folders(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keep the user's data, settings and weights out of the tests, and the tests out of them."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("LECTERN_DATA_DIR", str(home / "lectern"))
    for kind in ("CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(home / kind.lower()))
    if request.node.get_closest_marker("model") is None:  # weights may lie in the user's cache
        monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        monkeypatch.setenv("LECTERN_MODELS_DIR", str(home / "models"))


@pytest.fixture(autouse=True)
def only_this_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Refuse connections that would leave the machine, and fail the test that tried, even if its code swallowed the refusal."""
    refused: list[object] = []

    def guard(name: str) -> None:
        original = getattr(socket.socket, name)

        def guarded(self: socket.socket, address: object) -> object:
            if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address):
                refused.append(address)
                raise PermissionError(f"A test tried to reach {address}.")
            return original(self, address)

        monkeypatch.setattr(socket.socket, name, guarded)

    guard("connect")
    guard("connect_ex")
    yield
    assert not refused, f"the test tried to reach {refused}"


def _is_loopback(address: object) -> bool:
    host = address[0] if isinstance(address, tuple) else address
    try:
        return host == "localhost" or ip_address(str(host)).is_loopback
    except ValueError:
        return False
