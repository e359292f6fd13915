"""What bounds decoding: how fast this machine reads memory, and how much of it the model reads for each token."""

import ctypes
import threading
from pathlib import Path
from time import perf_counter

import numpy as np

_REPEATS = 6
_LEAST = 64 << 20  # bytes; below that the threads' start would show


def read_bandwidth(size: int, threads: int) -> float:
    """Bytes a second that so many threads read together, the best of several times.

    The threads read a buffer of `size` bytes again and again, as decoding reads the weights: what of it stays in a cache
    between two tokens, stays there here too. Each thread touches its part first, so it lies near. numpy's maximum of 64-bit
    integers is the fastest reading that we found (29 GB/s where libc's memchr reached 24 and a sum 19), and needs no lock.
    """
    barrier = threading.Barrier(threads)
    spans: list[list[tuple[float, float]]] = [[] for _ in range(threads)]
    share = max(size, _LEAST) // threads // 8

    def read(times: list[tuple[float, float]]) -> None:
        part = np.ones(share, dtype=np.int64)
        for _ in range(_REPEATS):
            barrier.wait()
            started = perf_counter()
            part.max()
            times.append((started, perf_counter()))

    workers = [threading.Thread(target=read, args=(times,)) for times in spans]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds = min(max(end for _, end in times) - min(start for start, _ in times) for times in zip(*spans, strict=True))
    return float(threads * share * 8 / seconds)


def bytes_per_token(path: Path) -> int:
    """Bytes of weights that a dense model reads to decode one token; the computed state comes on top of it.

    Raises:
        ValueError: the file is no GGUF model.
    """
    sizes = tensor_sizes(path)
    if "output.weight" in sizes:  # otherwise the embeddings are the output weights too
        sizes.pop("token_embd.weight", None)  # one row of it is read
    return sum(sizes.values())


class _Params(ctypes.Structure):
    """`struct gguf_init_params` of ggml's gguf.h."""

    _fields_ = (("no_alloc", ctypes.c_bool), ("ctx", ctypes.c_void_p))


def tensor_sizes(path: Path) -> dict[str, int]:
    """Bytes of each tensor of a GGUF file, by name; only the file's beginning is read, by ggml itself.

    Raises:
        ValueError: the file is no GGUF model.
    """
    import llama_cpp
    from llama_cpp._ctypes_extensions import load_shared_library

    ggml = load_shared_library("ggml-base", Path(llama_cpp.__file__).parent / "lib")
    ggml.gguf_init_from_file.restype = ctypes.c_void_p
    ggml.gguf_init_from_file.argtypes = (ctypes.c_char_p, _Params)
    ggml.gguf_get_n_tensors.restype = ctypes.c_int64
    ggml.gguf_get_n_tensors.argtypes = (ctypes.c_void_p,)
    ggml.gguf_get_tensor_name.restype = ctypes.c_char_p
    ggml.gguf_get_tensor_name.argtypes = (ctypes.c_void_p, ctypes.c_int64)
    ggml.gguf_get_tensor_size.restype = ctypes.c_size_t
    ggml.gguf_get_tensor_size.argtypes = (ctypes.c_void_p, ctypes.c_int64)
    ggml.gguf_free.argtypes = (ctypes.c_void_p,)
    file = ggml.gguf_init_from_file(str(path).encode(), _Params(True, None))
    if not file:
        raise ValueError(f"{path} is no GGUF file")
    try:
        return {
            ggml.gguf_get_tensor_name(file, n).decode(): int(ggml.gguf_get_tensor_size(file, n))
            for n in range(ggml.gguf_get_n_tensors(file))
        }
    finally:
        ggml.gguf_free(file)
