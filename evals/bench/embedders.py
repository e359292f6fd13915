"""Whether torch earns its place in the base install: `python -m evals.bench.embedders --data DIR`.

Needs `pip install onnx onnxscript`. The same MiniLM weights through sentence-transformers (torch) and through onnxruntime, as
float32 and as dynamic int8: speed in alternating rounds of one run, start, memory, size on disk, and quality.
"""

import os
import random
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from importlib.metadata import distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from timeit import timeit
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track

from assistant.models import model_path
from assistant.settings import core_count, go_offline, load_settings
from evals.bench.machine import machine, spread
from evals.cases import read_cases
from knowledge.chunking import chunk
from knowledge.embedding import Embedder, SentenceEmbedder, Vectors
from knowledge.errors import CourseError
from knowledge.ingest import STARTER_COURSE
from knowledge.loaders.load import load

_ROUNDS, _PASSAGES, _QUERIES, _BATCH = 5, 128, 20, 32
_PACKAGES = {  # what only one of the two needs; chromadb brings those of onnxruntime in any case
    "torch": "torch sentence-transformers transformers safetensors scikit-learn scipy joblib sympy mpmath networkx",
    "onnxruntime": "onnxruntime flatbuffers protobuf",
}
_CHILD = """from pathlib import Path; import sys, time, psutil
from evals.bench.embedders import opened
start = time.perf_counter()
embedder = opened(*map(Path, sys.argv[1:]))
embedder.embed(["warm up"])
print(time.perf_counter() - start)
embedder.embed(["one word after another " * 45] * 32)
print(psutil.Process().memory_info().rss / 2**20)"""


class OnnxEmbedder(SentenceEmbedder):
    """The model of `folder` through onnxruntime, from its exported `weights`."""

    def __init__(self, folder: Path, weights: Path) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        super().__init__(folder)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(256)
        self._tokenizer.enable_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = core_count()
        self._session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape (len(texts), 384), float32; batches hold texts of similar length, as in sentence-transformers."""
        vectors = np.empty((len(texts), 384), dtype=np.float32)
        order = np.argsort([-len(text) for text in texts], kind="stable")
        for start in range(0, len(texts), _BATCH):
            picks = order[start : start + _BATCH]
            encoded = self._tokenizer.encode_batch([texts[i] for i in picks])
            ids, mask = np.array([e.ids for e in encoded]), np.array([e.attention_mask for e in encoded])
            states = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
            total = (states * mask[..., None]).sum(axis=1)  # the mean's direction
            vectors[picks] = total / np.linalg.norm(total, axis=1, keepdims=True)
        return vectors


def opened(folder: Path, weights: Path | None = None) -> Embedder:
    """The torch embedder of a model folder, or the onnxruntime one of exported weights."""
    return OnnxEmbedder(folder, weights) if weights else SentenceEmbedder(folder)


def main(data: Annotated[Path, typer.Option(help="Holds the folder cranfield.")]) -> None:
    """Export, measure and print."""
    from evals.bench.retrieval import rank, read_cranfield, score  # brings LangChain, which the new processes do without

    go_offline()
    settings, cranfield = load_settings(), read_cranfield(data / "cranfield")
    folder = model_path(settings.embedder)
    print(f"{machine()}\nload average {os.getloadavg()[0]:.1f} before")
    with TemporaryDirectory() as temporary:
        sources = dict(zip(("torch", "onnx float32", "onnx int8"), ((folder,), *export(folder, Path(temporary))), strict=True))
        embedders = {name: opened(*arguments) for name, arguments in sources.items()}
        _speed(embedders, sources)
        for name, embedder in embedders.items():
            values = list(score(cranfield, rank(cranfield, embedder, settings.retrieval)["dense"])["nDCG@10"].values())
            print(f"{name:<14} nDCG@10 {np.mean(values):.4f} on Cranfield, n = {len(values)}")
    for side, names in _PACKAGES.items():
        print(f"{side:<14} and what it alone needs: {sum(map(_size, names.split())) / 2**20:.0f} MiB on disk")
    print(f"load average {os.getloadavg()[0]:.1f} after")


def export(folder: Path, target: Path) -> list[tuple[Path, Path]]:
    """The arguments of `opened` for ONNX weights, float32 and int8, written into `target`; CourseError without the packages."""
    try:
        import onnxscript  # noqa: F401  torch.onnx needs it
        from onnxruntime.quantization import QuantType, quantize_dynamic  # needs onnx
    except ImportError as error:
        raise CourseError(f"The export needs {error.name}.", "Run: pip install onnx onnxscript") from error
    import torch
    from transformers import AutoModel

    # Not one tensor for both: the export would make one input of them.
    example = {"input_ids": torch.full((2, 16), 7), "attention_mask": torch.ones(2, 16, dtype=torch.int64)}
    shape = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=512)}
    full, small = target / "float32.onnx", target / "int8.onnx"
    model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    torch.onnx.export(model, (), full, kwargs=example, dynamic_shapes=dict.fromkeys(example, shape), verbose=False)
    quantize_dynamic(full, small, weight_type=QuantType.QInt8)
    return [(folder, full), (folder, small)]


def _speed(embedders: dict[str, Embedder], sources: dict[str, tuple[Path, ...]]) -> None:
    chunked = (chunk(load(path, path.name), embedders["torch"].count_tokens) for path in sorted(STARTER_COURSE.glob("*.md")))
    texts = random.Random(0).sample([passage.searchable for _, passages in chunked for passage in passages], _PASSAGES)
    queries = [case.question for case in read_cases("starter_dev")[:_QUERIES]]
    vectors = {name: embedder.embed(texts) for name, embedder in embedders.items()}  # warms up too
    found: dict[str, list[list[float]]] = {name: [[], [], [], []] for name in embedders}
    for _ in track(range(_ROUNDS), description="Rounds", console=Console(stderr=True)):
        for name, (rates, latencies, starts, sizes) in found.items():
            rates.append(len(texts) / timeit(partial(embedders[name].embed, texts), number=1))
            latencies += [1000 * timeit(partial(embedders[name].embed, [query]), number=1) for query in queries]
            command = [sys.executable, "-c", _CHILD, *map(str, sources[name])]
            start, size = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
            starts.append(float(start))
            sizes.append(float(size))
    for name, (rates, latencies, starts, sizes) in found.items():
        cosines = (vectors[name] * vectors["torch"]).sum(axis=1)
        print(f"{name:<14} {spread(rates)} passages a second; query {spread(latencies, ' ms')}")
        print(f"{'':<14} import, load, first vector {spread(starts, ' s')}; resident {spread(sizes, ' MiB')}")
        print(f"{'':<14} cosine to torch's vectors: mean {cosines.mean():.4f}, least {cosines.min():.4f}")


def _size(package: str) -> int:
    paths = [Path(str(file.locate())) for file in distribution(package).files or ()]
    return sum(path.stat().st_size for path in paths if path.is_file())


if __name__ == "__main__":
    typer.run(main)
