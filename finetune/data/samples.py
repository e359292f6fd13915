"""What the served model writes, several times for each prompt, kept on disk so that an interrupted build can go on."""

import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from finetune.rows import Message
from knowledge.errors import CourseError

FILE = "samples.jsonl"
EACH, TEMPERATURE = 4, 0.8  # as many and as varied as in research on preference pairs of a model's own samples
_TYPES: dict[str, Callable[[str], BaseMessage]] = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}


class Sampler:
    """Samples of one model.

    Args:
        folder: of the rows; samples.jsonl in it is read and added to, one line as soon as a sample is there.
        model: streams, and takes `temperature`, `seed` and `max_tokens`.
        identity: of its weights and adapter; samples of others are not used.
        max_tokens: longest answer.

    Raises:
        CourseError: the file cannot be read.
    """

    def __init__(self, folder: Path, model: BaseChatModel, identity: str, max_tokens: int) -> None:
        self._path, self._model, self._identity, self._max_tokens = folder / FILE, model, identity, max_tokens
        self._known = dict(_read(self._path))
        self._torn = _is_torn(self._path)

    def texts(self, prompt: tuple[Message, ...], tell: Callable[[], None]) -> list[str]:
        """Answers to a prompt, from disk or from the model; `tell` is called after each.

        Raises:
            CourseError: the disk is full.
        """
        found = []
        for number in range(EACH):
            found.append(self._sample(prompt, number, TEMPERATURE, self._max_tokens))
            tell()
        return found

    def text(self, prompt: tuple[Message, ...], max_tokens: int) -> str:
        """The likeliest answer to a prompt, from disk or from the model.

        Raises:
            CourseError: the disk is full.
        """
        return self._sample(prompt, 0, 0.0, max_tokens)

    def _sample(self, prompt: tuple[Message, ...], number: int, temperature: float, max_tokens: int) -> str:
        about = [self._identity, temperature, max_tokens, number, list(prompt)]
        key = sha256(json.dumps(about, ensure_ascii=False).encode()).hexdigest()[:24]
        if key not in self._known:
            self._known[key] = self._write(key, prompt, number, temperature, max_tokens)
        return self._known[key]

    def _write(self, key: str, prompt: tuple[Message, ...], number: int, temperature: float, max_tokens: int) -> str:
        messages = [_TYPES[message["role"]](message["content"]) for message in prompt]
        pieces = self._model.stream(messages, max_tokens=max_tokens, temperature=temperature, seed=number)
        text = "".join(str(piece.content) for piece in pieces).strip()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                line = json.dumps({"key": key, "text": text}, ensure_ascii=False)
                file.write(("\n" if self._torn else "") + line + "\n")
                self._torn = False
        except OSError as error:
            raise CourseError(f"{self._path} cannot be written: {error.strerror}.", "Check the free disk space.") from error
        return text


def _is_torn(path: Path) -> bool:
    """Whether somebody was killed in the middle of a line."""
    return path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")


def _read(path: Path) -> Iterator[tuple[str, str]]:
    """Keys and texts; a line that a killed process left unfinished is passed over."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return
    except OSError as error:
        raise CourseError(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from error
    for line in lines:
        try:
            values = json.loads(line)
            yield values["key"], values["text"]
        except (ValueError, KeyError, TypeError):
            continue
