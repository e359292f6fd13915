"""Time to the first token of the whole assistant: `python -m evals.bench.ttft [--questions N] [--conversations N]`.

Questions of evals/cases go through the chain as a user's would: search, plan, prompt, engine. Each is asked warm (its section's
state on disk, nothing in memory), cold (as if its section had not been read) and in full (the warm prompt, nothing computed
before), in changing order. Conversations are held to the end, then each follow-up is asked again in full. Printed by group:
median, quartiles and the slowest tenth, and full over warm, prompt by prompt.

Wants an index whose sections have been read (`lectern warm`); questions about others are left out. Saved states are only read,
and nothing comes into the history. A prompt read in full takes 13 s on two cores with a 1.5B model.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from assistant.answer import collect
from assistant.chain import CourseChain
from assistant.events import Done, Exchange, Turn
from assistant.llm.chat_llama import ChatLlama
from assistant.memory import searched_for
from assistant.runtime import Runtime, build, chat_model, warm
from assistant.settings import Settings, go_offline, load_settings
from assistant.turn import Sections
from course_guard.verifier import make_verifier
from evals.bench.machine import machine, quantile, spread
from evals.bench.states import Always, ReadOnlyStore, forget, without_state
from evals.cases import read_cases, read_conversations
from knowledge.errors import CourseError
from knowledge.evidence import EvidencePlanner
from knowledge.retrieval import CourseRetriever

_FEW = 4  # tokens of an answer of which only the first counts
_TYPICAL = range(600, 1201)  # tokens of the prompts that the target is about
_NEEDS_WARM = "Run: lectern ingest --starter, then lectern warm"


@dataclass(frozen=True, slots=True)
class Timed:
    """One question.

    Attributes:
        warm_s, full_s, cold_s: to the first token since it was asked; None where there is no cold run.
        prompt_tokens: of the warm prompt, which is the full one too.
        computed: of them, how many were not in the saved state.
    """

    warm_s: float
    full_s: float
    cold_s: float | None
    prompt_tokens: int
    computed: int


class Asker:
    """A user's assistant in three ways; nothing comes into the history.

    Raises:
        CourseError: its model keeps no state, so there is nothing to compare.
    """

    def __init__(self, ready: Runtime) -> None:
        settings, index = ready.settings, ready.index
        model = chat_model(settings)
        if not isinstance(model, ChatLlama) or ready.warmer is None:
            raise CourseError(f"{settings.model.name} does not read ahead.", "Choose a GGUF model: `lectern models list`.")
        self.model, self._warmer = model, ready.warmer
        self._retriever = CourseRetriever(index=index, settings=settings.retrieval, k=settings.evidence.candidates)
        self._planner = EvidencePlanner(index, settings.evidence, self.model.count_tokens)
        verifier = make_verifier(settings.grounding, index.embedder, index.sentences)

        def chain(sections: Sections) -> CourseChain:
            return CourseChain(self._retriever, self._planner, self.model, verifier, None, settings.answer, sections=sections)

        self._warm, self._full, self._cold = chain(self._warmer), chain(Always(True)), chain(Always(False))

    def group(self, turn: Turn) -> str | None:
        """What a turn is measured as; None if it is refused before the model, or its section has not been read."""
        searched = searched_for(turn.question, turn.earlier)
        found = self._retriever.retrieve(searched)
        plan = self._planner.plan(searched, found) if found.covered else None
        if plan is None or not self._warmer.is_ready(plan.section_id, plan.section):
            return None
        return f"{'follow-up' if turn.earlier else 'first question'}, {'with' if plan.extras else 'without'} extras"

    def ask(self, turn: Turn) -> Done:
        """Warm, with what is in memory and on disk."""
        return _done(self._warm, turn)

    def ask_cold(self, turn: Turn) -> Done:
        """As if the section had not been read."""
        return _done(self._cold, turn)

    def ask_full(self, turn: Turn) -> Done:
        """The warm prompt, with nothing computed before."""
        with without_state(self.model):
            return _done(self._full, turn)


def main(
    questions: Annotated[int, typer.Option(min=1, help="First questions in each group, at most.")] = 20,
    conversations: Annotated[int, typer.Option(min=0, help="How many to hold.")] = 8,
    seed: Annotated[int, typer.Option(help="For the choice.")] = 0,
) -> None:
    """Measure with the settings in force."""
    go_offline()
    settings = load_settings()
    print(machine())
    ready = build(settings)
    if not settings.engine.disk_mb:
        raise CourseError("Nothing is kept: engine.disk_mb is 0.", _NEEDS_WARM)
    asker = Asker(ready)
    read_only(asker.model, settings)
    warm(ready)
    cases = shuffled_questions(seed)
    held = [[turn.question for turn in turns] for turns in read_conversations() if turns[0].split == "test"]
    timed = ask_first(asker, cases, questions)
    for name, values in follow_up(asker, random.Random(seed).sample(held, min(conversations, len(held)))).items():
        timed[name] = values
    if not timed:
        raise CourseError("No section that was asked about has been read.", _NEEDS_WARM)
    report(timed)


def shuffled_questions(seed: int) -> list[str]:
    """All answerable questions of evals/cases."""
    questions = [case.question for name in ("starter", "starter_dev") for case in read_cases(name) if case.answerable]
    random.Random(seed).shuffle(questions)
    return questions


def read_only(model: ChatLlama, settings: Settings) -> None:
    """From now on the model's saved states are only read."""
    scheduler = model.scheduler
    scheduler.pool.store = ReadOnlyStore(settings.states_dir, settings.engine.disk_mb << 20, scheduler.engine.identity)


def ask_first(asker: Asker, questions: Iterable[str], count: int) -> dict[str, list[Timed]]:
    """Ask up to `count` questions of each group in all three ways."""
    groups: dict[str, list[Turn]] = {}
    for question in questions:
        turn = Turn(question, max_tokens=_FEW)
        if (name := asker.group(turn)) and len(groups.setdefault(name, [])) < count:
            groups[name].append(turn)
    timed: dict[str, list[Timed]] = {name: [] for name in groups}
    todo = [(name, turn) for name, turns in groups.items() for turn in turns]
    for number, (name, turn) in enumerate(track(todo, description="First questions", console=Console(stderr=True))):
        done: dict[str, Done] = {}
        ways = (("warm", asker.ask), ("cold", asker.ask_cold), ("full", asker.ask_full))
        for way, ask in (*ways[number % 3 :], *ways[: number % 3]):
            forget(asker.model)
            done[way] = ask(turn)
        if result := _timed(done["warm"], done["full"], done["cold"]):
            timed[name].append(result)
    return timed


def follow_up(asker: Asker, conversations: Sequence[Sequence[str]]) -> dict[str, list[Timed]]:
    """Hold conversations, then ask each of their follow-ups again in full."""
    timed: dict[str, list[Timed]] = {}
    for asked in track(conversations, description="Conversations", console=Console(stderr=True)):
        forget(asker.model)
        earlier: tuple[Exchange, ...] = ()
        warm_runs: list[tuple[str, Turn, Done]] = []
        for question in asked:
            turn = Turn(question, earlier=earlier)
            name = asker.group(turn)
            done = asker.ask(turn)
            if name and earlier:
                warm_runs.append((name, turn, done))
            if done.exchange:
                earlier = (*earlier, done.exchange)
        for name, turn, done in warm_runs:
            if done.prompt_tokens and (result := _timed(done, asker.ask_full(replace(turn, max_tokens=_FEW)))):
                timed.setdefault(name, []).append(result)
    return timed


def _done(chain: CourseChain, turn: Turn) -> Done:
    done = collect(turn, chain.stream(turn)).done
    if done is None:
        raise RuntimeError("The chain ended without Done.")
    return done


def _timed(warm_run: Done, full_run: Done, cold_run: Done | None = None) -> Timed | None:
    """None if a run said nothing.

    Raises:
        RuntimeError: the prompts differ, or the full one was not computed in full.
    """
    seconds = [run.timings["first_token_ms"] if run else None for run in (warm_run, full_run, cold_run)]
    if seconds[0] is None or seconds[1] is None:
        return None
    tokens = warm_run.prompt_tokens
    if full_run.cached_tokens or (tokens and tokens != full_run.prompt_tokens):
        raise RuntimeError(f"These are not the same prompts, or not computed in full: {warm_run} {full_run}")
    cold_s = None if seconds[2] is None else seconds[2] / 1000
    return Timed(seconds[0] / 1000, seconds[1] / 1000, cold_s, tokens, tokens - warm_run.cached_tokens)


def report(timed: dict[str, list[Timed]]) -> None:
    """Print every group."""
    for name, values in sorted(timed.items()):
        _group(name, values)
        typical = [value for value in values if value.prompt_tokens in _TYPICAL]
        if typical and len(typical) < len(values):
            _group(f"{name}, prompts of {_TYPICAL[0]} to {_TYPICAL[-1]:,} tokens", typical)


def _group(name: str, values: Sequence[Timed]) -> None:
    if not values:
        return
    print(f"\n{name}, n = {len(values)}: prompt {spread([v.prompt_tokens for v in values], ' tokens')}")
    print(f"  tokens computed when warm {spread([v.computed for v in values])}")
    cold = [value for value in values if value.cold_s is not None]
    _line("warm", [v.warm_s for v in values])
    _line("full", [v.full_s for v in values])
    _line("cold", [v.cold_s or 0.0 for v in cold])
    print(f"  full / warm          {spread([v.full_s / v.warm_s for v in values])}")
    if cold:
        print(f"  cold / full          {spread([(v.cold_s or 0.0) / v.full_s for v in cold])}")


def _line(way: str, seconds: Sequence[float]) -> None:
    if seconds:
        print(f"  {way:<20} {spread(seconds, ' s')}, p90 {quantile(seconds, 0.9):.3g} s, most {max(seconds):.3g} s")


if __name__ == "__main__":
    typer.run(main)
