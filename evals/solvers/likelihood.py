"""Multiple choice without generating: how likely the bare model thinks each option after the prompt.

No chat template and no course: this measures the weights alone, as the papers of TruthfulQA and MMLU do.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from assistant.adapters import chosen_adapter
from assistant.models import model_path
from assistant.settings import Settings, thread_count
from evals.solvers.identity import of_model_calls
from evals.task import Output, Sample
from knowledge.errors import CourseError

if TYPE_CHECKING:
    from assistant.llm.engine import Engine

_BATCH = 128  # rows of one pass over the weights, as chat_llama.py
_SEQUENCES = 32  # one for the prompt, the others for options that are read side by side
_PROMPT = 0


class LikelihoodSolver:
    """For {"prompt": text, "options": texts} gives {"log_likelihoods": [...], "tokens": [...]}, in the order of the options.

    A log-likelihood is the sum of the natural-log probabilities of an option's tokens, `tokens` how many these are. Prompt and
    option are tokenised apart, so the prompt should end where a word ends and the option begin with the blank before the next.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._scores: OptionScores | None = None

    @cached_property
    def _engine(self) -> "Engine":
        from assistant.llm.engine import Engine

        model = self._settings.model
        engine = Engine(model_path(model.name), 0, model.context, _SEQUENCES, thread_count(model), _BATCH)
        if adapter := chosen_adapter(self._settings):
            engine.use_adapter(adapter.path)
        return engine

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"solver": "likelihood", "model": self._settings.model.name, **of_model_calls(self._settings)}

    def solve(self, sample: Sample) -> Output:
        tokenize = self._engine.tokenize
        prompt = tokenize(sample.input["prompt"], special=False)
        options = [tokenize(option, special=False) for option in sample.input["options"]]
        self._scores = self._scores or OptionScores(self._engine)
        return {"log_likelihoods": self._scores.of(prompt, options), "tokens": [len(option) for option in options]}

    def close(self) -> None:
        if "_engine" in self.__dict__:
            self._engine.close()
            del self._engine
            self._scores = None


class OptionScores:
    """Log-likelihoods of options after a prompt, whose state is computed once and shared between them.

    What a prompt has in common with the one before it, such as the examples that all prompts begin with, is not computed anew.

    Args:
        engine: used by nobody else.
    """

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._held: list[int] = []  # tokens of the prompt's sequence

    def of(self, prompt: Sequence[int], options: Sequence[Sequence[int]]) -> list[float]:
        """The sum of the log-probabilities of each option's tokens.

        Args:
            prompt: tokens, one at least.
            options: tokens of each, one at least.

        Raises:
            ValueError: the prompt or an option is empty.
            CourseError: the context of the settings cannot hold prompt and options.
        """
        if not prompt or not all(options):
            raise ValueError("The prompt and each option need at least one token.")
        from assistant.llm.engine import Full

        try:
            first = self._after(prompt)
            sums = [float(first[option[0]]) for option in options]
            side_by_side = self._engine.sequences - 1
            for start in range(0, len(options), side_by_side):
                self._add(sums, len(prompt), dict(enumerate(options[start : start + side_by_side], start)))
        except Full as full:
            raise CourseError(
                f"{len(prompt)} tokens of prompt and {sum(map(len, options))} of options do not fit the context.",
                "Raise model.context in the settings.",
            ) from full
        return sums

    def _after(self, prompt: Sequence[int]) -> NDArray[np.float64]:
        """Log-probabilities of the token behind the prompt, shape (vocabulary,)."""
        from assistant.llm.engine import Row

        engine, last = self._engine, len(prompt) - 1
        same = next((n for n, (a, b) in enumerate(zip(self._held, prompt, strict=False)) if a != b), len(self._held))
        same = min(same, last)
        engine.cut(_PROMPT, same)
        self._held = list(prompt[:same])
        for start in range(same, len(prompt), engine.batch):
            slice_ = prompt[start : start + engine.batch]
            engine.compute([Row(token, n, _PROMPT, n == last) for n, token in enumerate(slice_, start)])
            self._held += slice_
        return _log_softmax(engine.logits(len(slice_) - 1))

    def _add(self, sums: list[float], length: int, options: Mapping[int, Sequence[int]]) -> None:
        """Add to `sums` what all tokens but the first of each option, by number, contribute."""
        from assistant.llm.engine import Row

        engine = self._engine
        rows, wanted = [], []  # the token behind each row, and whose it is
        try:
            for sequence, (number, option) in enumerate(options.items(), start=_PROMPT + 1):
                engine.copy(_PROMPT, sequence, length)
                for position, (token, following) in enumerate(pairwise(option), start=length):
                    rows.append(Row(token, position, sequence, predict=True))
                    wanted.append((number, following))
            for start in range(0, len(rows), engine.batch):
                engine.compute(rows[start : start + engine.batch])
                for row, (number, following) in enumerate(wanted[start : start + engine.batch]):
                    sums[number] += float(_log_softmax(engine.logits(row))[following])
        finally:
            for sequence in range(_PROMPT + 1, engine.sequences):
                engine.cut(sequence, 0)


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - float(logits.max())
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return result
