"""One tuning from the course to a verdict, in stages that are each kept: what was cut off goes on where it stood.

runs/<name>/manifest.json     what it was made with, and the gate's figures
runs/<name>/triplets.jsonl    what is learnt from
runs/<name>/checkpoints/      while it trains; then loss.jsonl
runs/<name>/index/            the course with the new vectors, until it is promoted
embedders/<name>/             the new embedder
"""

import json
import platform
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import file_digest, sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from assistant.embedders import Tuned, embedder_folder
from assistant.settings import Settings, core_count
from finetune.embedder.gate import Verdict, judge
from finetune.embedder.pairs import Triplet, mine
from finetune.embedder.promote import MakeEmbedder, staged_folder, used_index
from finetune.embedder.questions import Asked, held_lessons, made_questions, read_questions, starter_cases
from finetune.embedder.staging import stage
from finetune.embedder.train import TuneConfig, tune
from finetune.rows import replace_text
from knowledge.embedding import SentenceEmbedder
from knowledge.errors import CourseError
from knowledge.index import CourseIndex
from knowledge.retrieval import CourseRetriever

_LEAST = 50  # triplets: with fewer, two batches would decide
_HELD_QUESTIONS = 150  # made, of held-out lessons
_TOLD = ("torch", "transformers", "sentence-transformers")
Tell = Callable[[str, int, int], None]
"""Called with (what is being done, how much of it, of how much); 0 of 0 where nobody knows."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a run is asked for.

    Attributes:
        count: questions to make at most.
        held: share of the lessons that are not learnt from.
        questions: a file to learn from besides; None learns from made ones alone.
        cases: a file of people's questions to be judged by; None takes those that ship for the starter course.
        data: folder of public sets.
    """

    config: TuneConfig = TuneConfig()
    count: int = 600
    held: float = 0.33
    questions: Path | None = None
    cases: Path | None = None
    data: Path | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Wanted":
        """What `as_json` wrote."""
        paths = {key: Path(values[key]) if values[key] else None for key in ("questions", "cases", "data")}
        return cls(**{**values, **paths, "config": TuneConfig(**values["config"])})


class TuningRun:
    """A run's folder and what is done in it.

    Args:
        settings: of the course.
        name: of the run.
        wanted: of a new run; an old one goes on as it began.
        make: folder -> embedder.

    Raises:
        CourseError: the course is empty or too small, or the embedder in use has changed since the run began.
    """

    def __init__(self, settings: Settings, name: str, wanted: Wanted, make: MakeEmbedder = SentenceEmbedder) -> None:
        self.settings, self.name, self._make = settings, name, make
        self.folder = settings.finetune_dir / "runs" / name
        self.model = settings.finetune_dir / "embedders" / name
        self._base = embedder_folder(settings)
        manifest = self.manifest
        if manifest and manifest["kind"] != "embedder":
            raise CourseError(f"{self.folder} is a run of another kind.", "Give another --name.")
        self.wanted = Wanted.from_json(manifest["config"]) if manifest else wanted
        if manifest and manifest["base_sha256"] != _hash(self._base):
            raise CourseError("The embedder in use is another one than this run began with.", "Start a new run.")
        self.used = used_index(settings, make)
        self.passages = self.used.catalogue.all_passages()
        seed, share = self.wanted.config.seed, self.wanted.held
        self.held = frozenset(manifest["lessons_held"]) if manifest else held_lessons(self.passages, share, seed)

    @property
    def manifest(self) -> dict[str, Any]:
        """What manifest.json says; empty before the run has begun."""
        try:
            return dict(json.loads((self.folder / "manifest.json").read_text(encoding="utf-8")))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise CourseError(f"The manifest of {self.folder} is damaged: {error}.", "Start a new run.") from error

    def _note(self, **fields: Any) -> None:
        replace_text(self.folder / "manifest.json", json.dumps(self.manifest | fields, indent=1, ensure_ascii=False))

    def questions(self) -> list[Asked]:
        """What may be learnt from: made of the lessons that are not held out, and those of --questions about them."""
        learnt = [passage for passage in self.passages if passage.source not in self.held]
        given = read_questions(self.wanted.questions, learnt) if self.wanted.questions else []
        made = made_questions(learnt, self.wanted.count, self.wanted.config.seed)
        return [*(asked for asked in given if asked.answers), *made]

    def begin(self) -> None:
        """Make the folder and say what the run is made with."""
        if not self.manifest:
            self.folder.mkdir(parents=True, exist_ok=True)
            versions = {name: version(name) for name in _TOLD}
            self._note(
                kind="embedder", base=self.settings.embedder, base_sha256=_hash(self._base), config=self.wanted.as_json(),
                lessons_held=sorted(self.held), versions=versions, machine=f"{platform.processor() or platform.machine()}, "
                f"{core_count()} cores", state="mining", seconds=0.0,
            )  # fmt: skip

    def triplets(self, tell: Tell) -> list[Triplet]:
        """Mine, or read what was mined before.

        Raises:
            CourseError: there are too few.
        """
        path = self.folder / "triplets.jsonl"
        if not path.is_file():
            retriever = CourseRetriever(index=self.used, settings=self.settings.retrieval)
            mined = mine(self.questions(), retriever, self.held, lambda done, total: tell("Mining negatives", done, total))
            if len(mined.triplets) < _LEAST:
                raise CourseError(
                    f"Only {len(mined.triplets)} questions have a safe negative, and {_LEAST} are needed.",
                    "Add material, or questions: --questions FILE",
                )
            replace_text(path, "".join(json.dumps(asdict(t), ensure_ascii=False) + "\n" for t in mined.triplets))
            kinds = Counter(triplet.kind for triplet in mined.triplets)
            rows = {"triplets": len(mined.triplets), "not found": mined.not_found, "no negative": mined.no_negative, **kinds}
            self._note(rows=rows, data_sha256=sha256(path.read_bytes()).hexdigest(), state="training")
        return [Triplet(**json.loads(line)) for line in path.read_text(encoding="utf-8").split("\n") if line]

    def train(self, triplets: list[Triplet], tell: Tell) -> None:
        """Tune, unless that is done."""
        if self.model.is_dir():
            return
        self.model.parent.mkdir(parents=True, exist_ok=True)
        total = self.wanted.config.steps(len(triplets))

        def heard(step: int, loss: float | None) -> None:
            tell("Training" if loss is None else f"Training, loss {loss:.2f}", step, total)

        began = time.monotonic()
        tune(self._base, triplets, self.wanted.config, self.folder, self.model, heard)
        self._note(state="judging", steps=total, seconds=round(self.manifest["seconds"] + time.monotonic() - began, 1))

    def judge(self, tell: Tell) -> Verdict:
        """Make the index with the tuned embedder, and hold it against the one in use."""
        staged = CourseIndex(staged_folder(self.settings, self.name), self._make(self.model))
        stage(self.used, staged, self.settings.retrieval, lambda done, total: tell("Indexing anew", done, total))
        before, after = (CourseRetriever(index=index, settings=self.settings.retrieval) for index in (self.used, staged))
        wanted, seed = self.wanted, self.wanted.config.seed
        people = read_questions(wanted.cases, self.passages) if wanted.cases else starter_cases(self.passages)
        unseen = [passage for passage in self.passages if passage.source in self.held]
        made = made_questions(unseen, _HELD_QUESTIONS, seed)
        verdict = judge(
            before, after, people, made, self.held, self.settings.grounding, wanted.data, seed,
            lambda what: tell(f"Measuring: {what}", 0, 0),
        )  # fmt: skip
        self._note(gate=verdict.as_json(), state="passed" if verdict.passed else "refused")
        return verdict

    @property
    def tuned(self) -> Tuned:
        """The result, as an index names it."""
        return Tuned(self.name, self.settings.embedder, str(self.model.absolute()))


def _hash(folder: Path) -> str:
    with (folder / "model.safetensors").open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
