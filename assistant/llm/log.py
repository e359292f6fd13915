"""What llama.cpp says goes to our log, not to the terminal; its last complaint is kept, since its functions give no reason."""

import ctypes
import logging
from typing import Any

_ERROR = 4  # of enum ggml_log_level
_log = logging.getLogger(__name__)
_callback: list[Any] = []  # llama.cpp keeps a bare pointer to it
_complaint = [""]


def listen() -> None:
    """Hear llama.cpp from now on."""
    import llama_cpp.llama_cpp as ll

    if not _callback:
        _callback.append(ll.llama_log_callback(_hear))
    ll.llama_log_set(_callback[0], ctypes.c_void_p())


def complaint() -> str:
    """The last error that llama.cpp reported since this was asked, without the name of its function; or empty."""
    text, _complaint[0] = _complaint[0], ""
    return text.partition(": ")[2] or text


def _hear(level: int, text: bytes, _: object) -> None:
    line = text.decode("utf-8", "replace").rstrip()
    _log.debug("%s", line)
    if level == _ERROR:
        _complaint[0] = line
