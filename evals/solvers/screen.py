"""The rules for questions alone, with the policy as shipped: what is blocked, warned of or noticed before anything is searched.

The output is {"allowed": bool, "verdicts": [{rule, action, allowed, reason, spans, score}], "screen_ms": float}. Rules that
the shipped policy switches off do not run.
"""

import time
from collections.abc import Mapping
from functools import cached_property
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant.models import model_path
from evals.environment import Environment
from evals.running.cache import code_version
from evals.task import Output, Sample
from knowledge.embedding import SentenceEmbedder

if TYPE_CHECKING:
    from course_guard.question import QuestionScreen


class ScreenSolver:
    """Screens `sample.input["question"]`.

    Args:
        environment: of the run; its settings name the embedder. No index and no chat model are needed.
    """

    def __init__(self, environment: Environment) -> None:
        self._settings = environment.settings

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        return {
            "solver": "screen",
            "code": code_version("course_guard", "knowledge", "evals.solvers"),  # the policy is a TOML file of course_guard
            "weights": _weights("course_guard"),
            "embedder": self._settings.embedder,
        }

    @cached_property
    def screen(self) -> "QuestionScreen":
        """The screen, which has looked at a question, so that no sample's time has the loading of libraries in it."""
        from course_guard.policy import default_policy
        from course_guard.question import question_screen

        screen = question_screen(SentenceEmbedder(model_path(self._settings.embedder)), default_policy())
        screen.screen("What is a gradient?")
        return screen

    def solve(self, sample: Sample) -> Output:
        screen = self.screen
        started = time.perf_counter()
        screened = screen.screen(sample.input["question"])
        took = time.perf_counter() - started
        verdicts = [
            {
                "rule": verdict.rule,
                "action": verdict.action.value,
                "allowed": verdict.allowed,
                "reason": verdict.reason,
                "spans": [list(span) for span in verdict.spans],
                "score": round(verdict.score, 4),
            }
            for verdict in screened.verdicts
        ]
        return {"allowed": screened.blocked is None, "verdicts": verdicts, "screen_ms": round(1000 * took, 2)}

    def close(self) -> None:
        """Nothing is held."""


def _weights(package: str) -> str:
    """Hash of a package's files that are not code, such as trained weights."""
    found, spec = sha256(), find_spec(package)
    for folder in map(Path, (spec and spec.submodule_search_locations) or ()):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix not in (".py", ".pyc", ".toml"):
                found.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return found.hexdigest()[:12]
