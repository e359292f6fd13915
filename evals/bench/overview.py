"""All of `lectern bench`: what this machine and the chosen model reach, beside what memory and computation allow."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from assistant.llm.chat_llama import ChatLlama
from assistant.models import model_path
from assistant.prompts import section_block
from assistant.settings import Settings, thread_count
from evals.bench.bandwidth import bytes_per_token, read_bandwidth
from evals.bench.drafting import Drafting, drafting
from evals.bench.engine import CONTEXT, DECODE_ROWS, Setting, Speeds, speeds
from evals.bench.machine import machine
from evals.bench.material import Chapter, own_course, spread_over, starter_course
from evals.bench.reuse import Reuse, reuse

_BATCHES = (16, 32, 64, 128)  # rows by which a prompt is read
_LARGE = (256, 512)
_NEAR = 0.8  # share of the limit of memory from which on decoding counts as bound by it
_STATES_MB = 1024  # for the few sections that are read


@dataclass(frozen=True, slots=True)
class Overview:
    """What was measured.

    Attributes:
        load: load average of the last minute before; beyond 0 others were at work, and every time is too long.
        bandwidth: bytes a second, by threads: one and all.
        weight_bytes, cell_bytes: what a decoded token reads: of weights, and for each token before it.
        one_thread, all_threads: speeds of the bare engine; the latter with every number of rows.
        sweep: other settings and their speeds.
        rss: bytes that the process held with model, cache and states.
        course_tokens: of the course named `course`, as its sections stand in prompts.
    """

    machine: str
    model: str
    threads: int
    batch: int
    load: float
    bandwidth: dict[int, float]
    weight_bytes: int
    cell_bytes: int
    one_thread: Speeds
    all_threads: Speeds
    sweep: tuple[tuple[Setting, Speeds], ...]
    reuse: Reuse
    drafts: dict[str, Drafting]
    rss: int
    course: str
    course_tokens: int

    @property
    def bandwidth_limit(self) -> float:
        """Tokens a second that memory allows one answer."""
        return self.bandwidth[self.threads] / (self.weight_bytes + CONTEXT * self.cell_bytes)

    @property
    def compute_limit(self) -> float:
        """Tokens a second of one answer if all threads computed as fast as one does alone, which has the memory to itself."""
        return self.threads * self.one_thread.decode

    @property
    def bound_by(self) -> str:
        """What keeps decoding from being faster: "memory" or "computation"."""
        near = self.all_threads.decode >= _NEAR * self.bandwidth_limit
        return "memory" if near or self.bandwidth_limit <= self.compute_limit else "computation"

    @property
    def prefill(self) -> float:
        """Prompt tokens a second, with the batches that answers use: what computation allows a batch."""
        return self.all_threads.prefill[self.batch]

    @property
    def bytes_per_course_token(self) -> float:
        """Of saved state, on disk."""
        return self.reuse.state_bytes / sum(self.reuse.section_tokens)

    @property
    def seconds_per_course_token(self) -> float:
        """To compute and save it."""
        return sum(self.reuse.read_s) / sum(self.reuse.section_tokens)

    def as_json(self) -> dict[str, Any]:
        """The object of `lectern bench --json`: medians, and below them what they are the medians of."""
        return {
            "machine": self.machine,
            "model": self.model,
            "threads": self.threads,
            "load": self.load,
            "ttft_full_s": median(self.reuse.full_s),
            "ttft_warm_s": median(self.reuse.warm_s),
            "ttft_held_s": median(self.reuse.held_s),
            "ttft_ratio": median(self.reuse.ratios),
            "decode_tokens_per_s": self.all_threads.decode,
            "decode_one_thread_tokens_per_s": self.one_thread.decode,
            "bandwidth_limit_tokens_per_s": self.bandwidth_limit,
            "compute_limit_tokens_per_s": self.compute_limit,
            "bound_by": self.bound_by,
            "prefill_tokens_per_s": self.prefill,
            "prefill_tokens_per_s_by_batch": self.all_threads.prefill,
            "decode_step_s_by_rows": self.all_threads.step_s,
            "bandwidth_bytes_per_s_by_threads": self.bandwidth,
            "bytes_per_token": {"weights": self.weight_bytes, "each_token_before": self.cell_bytes},
            "drafts": {kind: {"ratio": _median(d.ratios), **asdict(d)} for kind, d in self.drafts.items()},
            "cost": {
                "megabytes_per_1000_tokens": self.bytes_per_course_token / 1e3,
                "seconds_per_1000_tokens": self.seconds_per_course_token * 1e3,
                "memory_bytes": self.rss,
                "course": self.course,
                "course_tokens": self.course_tokens,
                "course_megabytes": self.bytes_per_course_token * self.course_tokens / 1e6,
                "course_seconds": self.seconds_per_course_token * self.course_tokens,
            },
            "prompts": asdict(self.reuse),
            "sweep": [{**asdict(setting), **asdict(reached)} for setting, reached in self.sweep],
        }


def measure(settings: Settings, prompts: int, sweep: bool, say: Callable[[str], None]) -> Overview:
    """Measure the chosen model; a minute for each prompt with a 1.5B model on two cores, and a minute for the rest.

    Args:
        settings: those in force; their folder of states is left alone.
        prompts: how many sections to ask about.
        sweep: measure other settings of the engine too.
        say: hears what comes next.

    Raises:
        MissingModel: its weights are not here.
    """
    import psutil

    path, threads, load = model_path(settings.model.name), thread_count(settings.model), os.getloadavg()[0]
    weights = bytes_per_token(path)
    say("How fast memory is read")
    bandwidth = {count: read_bandwidth(weights, count) for count in dict.fromkeys((1, threads))}
    say("Loading the model")
    engine = settings.engine.model_copy(update={"disk_mb": _STATES_MB, "join": False})
    with TemporaryDirectory(prefix="lectern-bench-") as folder:
        model = ChatLlama(path=path, context=settings.model.context, threads=threads, states=Path(folder), engine=engine)
        try:
            starter = starter_course(model.count_tokens, settings.chunking)
            chapters = spread_over(starter, prompts, model.count_tokens)
            say(f"Prompts read in full and from saved state, {len(chapters)} in turn")
            reused = reuse(model, chapters)
            say("Answers with drafts and without, in turn")
            drafted = drafting(model, chapters)
            rss = psutil.Process().memory_info().rss
            batch, cell_bytes = model.scheduler.engine.batch, model.scheduler.engine.cell_bytes
            own = own_course(settings)
            course_tokens = _tokens(own or starter, model)
        finally:
            model.scheduler.close()
    text = "\n".join(chapter.text for chapter in chapters)
    say("The bare engine, all threads")
    batches = tuple(sorted({*_BATCHES, batch}))
    everything = speeds(path, text, Setting(threads, max(batches)), batches, DECODE_ROWS)
    say("The bare engine, one thread")
    alone = everything if threads == 1 else speeds(path, text, Setting(1, batch), ())
    others = []
    for setting in _others(threads, batch) if sweep else ():
        say(f"{setting}")
        others.append((setting, speeds(path, text, setting, (setting.batch,))))
    return Overview(
        machine(), settings.model.name, threads, batch, load, bandwidth, weights, cell_bytes, alone, everything,
        tuple(others), reused, drafted, rss, "your course" if own else "the starter course", course_tokens,
    )  # fmt: skip


def _others(threads: int, batch: int) -> list[Setting]:
    """One thing changed at a time: threads (1 to all, then powers of two only), flash attention, the batch."""
    counts = [count for count in range(1, threads) if threads <= 8 or count & (count - 1) == 0]
    return [
        *(Setting(count, batch) for count in counts),
        Setting(threads, batch),
        Setting(threads, batch, flash=False),
        *(Setting(threads, size) for size in _LARGE),
    ]


def _tokens(chapters: Sequence[Chapter], model: ChatLlama) -> int:
    return sum(model.count_tokens(section_block(chapter.id, chapter.passages)["text"]) for chapter in chapters)


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None
