"""Does llama.cpp with an exported adapter say what transformers says with the adapter that was trained?

Both read the same tokens; at each the Kullback-Leibler divergence of llama.cpp's distribution of the next token from that of
transformers is taken, in nats. llama.cpp computes a little differently (8-bit activations, 16-bit cache), so the base models
differ too: what an export adds to that is its own error. It is measured on the engine that serves.

    python -m finetune.parity MODEL runs/sft-1/adapter adapter.gguf [--text FILE ...]
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from knowledge.errors import CourseError

MARGIN = 0.01  # nats a token that an export may add to what llama.cpp and transformers differ by anyway
_BATCH = 64
_MOST_TOKENS = 256  # of a text; the scores of each are one number for each word of the vocabulary

Logits = NDArray[np.float32]  # (tokens, vocabulary)


@dataclass(frozen=True, slots=True)
class Parity:
    """How far llama.cpp is from transformers, mean nats a token.

    Attributes:
        tokens: that were compared.
        base: without the adapter on either side.
        tuned: with the adapter on both.
        effect: of the adapter itself: with it in transformers, without it in llama.cpp. What is far below this was exported.
        error: standard error of tuned - base, over tokens.
        agree: share of tokens at which both find the same next token likeliest, with the adapter.
    """

    tokens: int
    base: float
    tuned: float
    effect: float
    error: float
    agree: float

    @property
    def excess(self) -> float:
        """What the export adds."""
        return self.tuned - self.base

    @property
    def passed(self) -> bool:
        """Whether that is within the margin."""
        return self.excess <= MARGIN

    def lines(self) -> list[str]:
        """For a reader."""
        verdict = "within" if self.passed else "beyond"
        return [
            f"KL divergence a token of llama.cpp from transformers, {self.tokens} tokens:",
            f"  base model without adapter  {self.base:.4f} nats",
            f"  with the adapter on both    {self.tuned:.4f} nats, the same next token at {self.agree:.1%}",
            f"  what the adapter changes    {self.effect:.4f} nats",
            f"  the export adds             {self.excess:+z.4f} (standard error {self.error:.4f}): {verdict} {MARGIN}",
        ]


def kl_per_token(wanted: Logits, found: Logits) -> NDArray[np.float64]:
    """KL(wanted || found) at each token, nats.

    Args:
        wanted: scores of the next token, shape (tokens, vocabulary).
        found: scores to compare with them, same shape.

    Returns:
        Shape (tokens,).
    """
    log_p, log_q = _log_softmax(wanted), _log_softmax(found)
    return np.asarray((np.exp(log_p) * (log_p - log_q)).sum(axis=1))


def parity(
    base_folder: Path,
    peft_folder: Path,
    base_gguf: Path,
    adapter_gguf: Path | None,
    texts: Sequence[str],
    merged_gguf: Path | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Parity:
    """Compare an exported adapter, or a merged model, with what was trained.

    Args:
        base_folder: the base as transformers reads it.
        peft_folder: the adapter as PEFT reads it.
        base_gguf: the base as llama.cpp reads it.
        adapter_gguf: the exported adapter; None with `merged_gguf`.
        texts: read up to 256 tokens each; ten passages of the course are enough.
        merged_gguf: to be compared instead, by itself.
        progress: is told after each text how many of how many are done.

    Raises:
        CourseError: a model or adapter cannot be loaded, or no text has a token.
    """
    trained = _Trained(base_folder, peft_folder)
    columns: list[NDArray[np.float64]] = []
    with _engine(base_gguf, None) as base, _engine(merged_gguf or base_gguf, adapter_gguf) as tuned:
        for done, text in enumerate(texts, start=1):
            if tokens := base.tokenize(text, special=True)[:_MOST_TOKENS]:
                wanted, served, by_itself = trained.logits(tokens), _served(tuned, tokens), _served(base, tokens)
                same = wanted.argmax(axis=1) == served.argmax(axis=1)
                base_kl = kl_per_token(trained.base_logits(tokens), by_itself)
                columns.append(np.stack([base_kl, kl_per_token(wanted, served), kl_per_token(wanted, by_itself), same]))
            progress(done, len(texts))
    if not columns:
        raise CourseError("There is no text to compare on.", "Give files with a few sentences each.")
    base_kl, tuned_kl, effect, same = np.concatenate(columns, axis=1)
    excess = tuned_kl - base_kl
    error = float(excess.std(ddof=1) / len(excess) ** 0.5) if len(excess) > 1 else 0.0
    return Parity(len(excess), float(base_kl.mean()), float(tuned_kl.mean()), float(effect.mean()), error, float(same.mean()))


def course_texts(count: int = 8, characters: int = 800) -> list[str]:
    """Beginnings of lessons of the starter course, spread over it."""
    import knowledge

    lessons = sorted((Path(knowledge.__path__[0]) / "course").glob("*.md"))
    return [path.read_text(encoding="utf-8")[:characters] for path in lessons[:: max(1, len(lessons) // count)][:count]]


class _Trained:
    """Base and adapter in transformers, float32, on this machine's CPU."""

    def __init__(self, base: Path, adapter: Path) -> None:
        try:
            import torch
            from peft import PeftModel
            from transformers import AutoModelForCausalLM
            from transformers.utils.logging import disable_progress_bar
        except ImportError as error:
            raise CourseError(f"The package {error.name} is not installed.", "Run: make finetune") from error
        disable_progress_bar()
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, local_files_only=True)
        self._model: Any = PeftModel.from_pretrained(model, str(adapter), local_files_only=True).eval()

    def logits(self, tokens: Sequence[int]) -> Logits:
        """With the adapter, shape (tokens, vocabulary)."""
        import torch

        with torch.inference_mode():
            return np.asarray(self._model(torch.tensor([list(tokens)])).logits[0].numpy())

    def base_logits(self, tokens: Sequence[int]) -> Logits:
        """Without it."""
        with self._model.disable_adapter():
            return self.logits(tokens)


@contextmanager
def _engine(path: Path, adapter: Path | None) -> Iterator[Any]:
    from assistant.llm.engine import Engine
    from assistant.settings import core_count

    with closing(Engine(path, 0, _MOST_TOKENS + _BATCH, 1, core_count(), _BATCH)) as engine:
        if adapter is not None:
            engine.use_adapter(adapter)
        yield engine


def _served(engine: Any, tokens: Sequence[int]) -> Logits:
    from assistant.llm.engine import Row

    engine.cut(0, 0)
    found: list[Logits] = []
    for start in range(0, len(tokens), _BATCH):
        part = tokens[start : start + _BATCH]
        engine.compute([Row(token, start + n, 0, predict=True) for n, token in enumerate(part)])
        found += [engine.logits(n).copy() for n in range(len(part))]
    return np.array(found)


def _log_softmax(logits: Logits) -> NDArray[np.float64]:
    scores = logits.astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)
    return np.asarray(scores - np.log(np.exp(scores).sum(axis=1, keepdims=True)))


def main(
    model: Annotated[str, typer.Argument(help="The base: a name of `lectern models list`, or a .gguf file.")],
    peft: Annotated[Path, typer.Argument(help="Folder of the adapter as it was trained.")],
    adapter: Annotated[Path, typer.Argument(help="The exported adapter; with --merged a model that needs none.")],
    text: Annotated[list[Path] | None, typer.Option(help="Files to read; without any, the starter course.")] = None,
    merged: Annotated[bool, typer.Option("--merged", help="It is a merged model.")] = False,
) -> None:
    """Print how far an exported adapter is from what was trained; exit code 1 if that is beyond the margin."""
    from assistant.models import model_path
    from finetune.base import base_model

    texts = [path.read_text(encoding="utf-8") for path in text or []] or course_texts()
    exported = (None, adapter) if merged else (adapter, None)
    try:
        found = parity(base_model(model, typer.echo), peft, model_path(model), exported[0], texts, exported[1])
    except CourseError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from error
    typer.echo("\n".join(found.lines()))
    raise typer.Exit(not found.passed)


if __name__ == "__main__":
    typer.run(main)
