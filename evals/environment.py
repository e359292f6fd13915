"""What solvers and scorers of one run share, built when first needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from assistant.settings import Settings
from evals.running.cache import Cache

if TYPE_CHECKING:
    from assistant.runtime import Runtime
    from evals.cases import Case
    from evals.judges import Judge
    from evals.task import Split


@dataclass
class Environment:
    """Settings, data, seed, cache, judge and the assistant of one run.

    Attributes:
        data: the folder of public data sets, or None.
        cases: what to ask in the place of the starter course's cases, or None.
        judge_name: what decides whether a passage supports a sentence, see evals/judges.py.
    """

    settings: Settings
    cache: Cache
    data: Path | None = None
    seed: int = 0
    judge_name: str = "overlap"
    cases: "Sequence[tuple[Case, Split]] | None" = None

    @cached_property
    def runtime(self) -> "Runtime":
        """The assistant with the settings of the run."""
        from assistant.runtime import build

        return build(self.settings)

    @cached_property
    def judge(self) -> "Judge":
        """The groundedness judge of the run."""
        from evals.judges import make_judge

        return make_judge(self.judge_name, self)
