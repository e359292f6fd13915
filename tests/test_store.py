"""The search for the nearest vectors finds them all, whatever graph Chroma has built this time."""

from dataclasses import dataclass, field

import numpy as np

from knowledge.store import VectorStore

COUNT, NEAREST = 1000, 50


@dataclass
class Vectors:
    """An embedder whose texts are numbers of vectors, which lie in clusters as those of sentences do."""

    identity: str = "clusters"
    dimension: int = 64
    made: np.ndarray = field(init=False)

    def __post_init__(self):
        random = np.random.default_rng(0)
        centres = random.normal(size=(40, self.dimension))
        made = centres[random.integers(40, size=COUNT)] + 0.8 * random.normal(size=(COUNT, self.dimension))
        self.made = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)

    def embed(self, texts):
        return self.made[[int(text) for text in texts]]


@dataclass(frozen=True)
class Numbered:
    searchable: str
    document_id: str = "d"

    @property
    def id(self):
        return f"p{self.searchable}"


def share_found(folder):
    embedder = Vectors()
    store = VectorStore(folder, embedder)
    store.add([Numbered(str(n)) for n in range(COUNT)])
    found = []
    for query in embedder.made[::10]:
        nearest = {f"p{n}" for n in np.argsort(-(embedder.made @ query))[:NEAREST]}
        found.append(nearest == {id_ for id_, _ in store.search(query, NEAREST)})
    store.close()
    return sum(found) / len(found)


def test_all_the_nearest_are_found_whatever_the_graph(tmp_path):
    assert [share_found(tmp_path / str(n)) for n in range(3)] == [1.0] * 3
