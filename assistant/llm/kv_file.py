"""The file of one saved KV state. Numbers are little-endian.

- magic (8 bytes), format version, bytes of engine, bytes of label, number of tokens (uint32 each), bytes of payload (uint64)
- engine and label (UTF-8), token ids (int32 each), payload
- XXH3 digest of everything before it (16 bytes)
"""

import os
from collections.abc import Sequence
from io import BufferedReader
from struct import Struct
from typing import NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

MAGIC = b"LECTKV\r\n"  # as in PNG, a transfer that rewrites line ends breaks it
VERSION = 1
START = Struct("<8sIIIIQ")
_DIGEST_BYTES = 16


class BadState(Exception):
    """Why a file cannot be trusted."""


class Header(NamedTuple):
    """What stands before the token ids.

    Attributes:
        raw: all of it.
        tokens: how many.
        payload: how many bytes.
    """

    raw: bytes
    engine: bytes
    label: str
    tokens: int
    payload: int


def token_bytes(tokens: Sequence[int]) -> bytes:
    """Token ids as they stand in the file."""
    return np.asarray(tokens, dtype="<i4").tobytes()


def contents(engine: bytes, label: str, ids: bytes, payload: memoryview) -> tuple[bytes | memoryview, ...]:
    """The file's parts, to be written one behind the other.

    Args:
        engine: identity of what computed the state.
        label: what the state is of.
        ids: of its tokens, as `token_bytes` gives them.
        payload: unsigned bytes, C-contiguous.
    """
    name = label.encode("utf-8", "surrogateescape")
    start = START.pack(MAGIC, VERSION, len(engine), len(name), len(ids) // 4, len(payload)) + engine + name
    return start, ids, payload, _digest(start, ids, payload)


def read_header(file: BufferedReader) -> Header:
    """Read up to the token ids; what the digest covers is not verified here, but the sizes add up.

    Raises:
        BadState: they do not, or this is another format.
    """
    start = file.read(START.size)
    if len(start) < START.size:
        raise BadState("it is cut off")
    magic, version, engine, label, tokens, payload = START.unpack(start)
    if magic != MAGIC:
        raise BadState("it is no saved state")
    if version != VERSION:
        raise BadState(f"its format is {version}, not {VERSION}")
    size, expected = os.fstat(file.fileno()).st_size, START.size + engine + label + 4 * tokens + payload + _DIGEST_BYTES
    if size != expected:
        raise BadState(f"it has {size} bytes instead of {expected}")
    names = file.read(engine + label)
    return Header(start + names, names[:engine], names[engine:].decode("utf-8", "surrogateescape"), tokens, payload)


def read_payload(file: BufferedReader, engine: bytes, ids: bytes) -> NDArray[np.uint8]:
    """Read the payload, shape (bytes,), of exactly these tokens by this engine.

    Raises:
        BadState: it is another state, or its bytes are not those that were written.
    """
    header = read_header(file)
    if header.engine != engine:
        raise BadState("it is of another engine")
    if 4 * header.tokens != len(ids) or file.read(len(ids)) != ids:
        raise BadState("it is of other tokens")
    payload = np.empty(header.payload, dtype=np.uint8)
    file.readinto(payload.data)
    if file.read() != _digest(header.raw, ids, payload.data):
        raise BadState("its bytes have changed since they were written")
    return payload


def _digest(*parts: bytes | memoryview) -> bytes:
    digest = xxhash.xxh3_128()
    for part in parts:
        digest.update(part)
    return digest.digest()
