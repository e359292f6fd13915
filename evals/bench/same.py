"""Does an answer from saved state equal one from a full prefill? `python -m evals.bench.same [--limit N] [--joined]`.

Covered cases of the starter course, with the prompt that the assistant would make: prefilled from nothing, from the saved
state of its section, the same with drafts, and with --joined from three sections; one after the other, each with nothing in
memory. Prints how many answers are the same, how many hold the gold fact, by how little the model preferred the first token
that differs, and the times. States that are missing are computed and kept.
"""

import json
import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from langchain_core.messages import BaseMessage
from rich.console import Console
from rich.progress import track
from scipy.stats import binomtest

from assistant.llm.chat_llama import ChatLlama
from assistant.llm.engine import Row
from assistant.models import model_path
from assistant.prompts import answer_prompt, section_block, section_prompt
from assistant.runtime import Runtime, build
from assistant.settings import go_offline, load_settings, thread_count
from assistant.warming import Warmer
from evals.bench.machine import machine, spread
from evals.cases import Case, read_cases
from knowledge.evidence import Plan
from knowledge.retrieval import Retrieved

FULL, SAVED, DRAFTS, JOINED = "full", "saved", "drafts", "joined"
_SPARE = 0  # a sequence of the engine that no answer uses
_SECTIONS = 3  # that are joined


def main(
    limit: Annotated[int, typer.Option(help="A random sample of this size; 0 takes all.")] = 0,
    seed: Annotated[int, typer.Option(help="For the sample.")] = 0,
    max_tokens: Annotated[int, typer.Option(help="Longest answer.")] = 60,
    joined: Annotated[bool, typer.Option("--joined", help="Also join three sections.")] = False,
    out: Annotated[Path | None, typer.Option(help="Keep one JSON object a case here, and go on from it.")] = None,
) -> None:
    """Run the comparison with the settings in force."""
    go_offline()
    print(machine())
    comparison = Comparison(build(load_settings()))
    cases = [case for name in ("starter", "starter_dev") for case in read_cases(name) if case.answerable]
    if limit:
        cases = random.Random(seed).sample(cases, min(limit, len(cases)))
    results = [json.loads(line) for line in out.read_text().splitlines()] if out and out.exists() else []
    done = {result["case"] for result in results}
    for case in track(cases, description="Comparing", console=Console(stderr=True)):
        if case.id not in done and (result := comparison.run(case, max_tokens, joined)):
            results.append(result)
            if out:
                with out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(result, ensure_ascii=False) + "\n")
    report(results)


class Comparison:
    """Two engines with the same weights: one that keeps nothing, and one with the saved states of the settings."""

    def __init__(self, ready: Runtime) -> None:
        self._ready = ready
        settings = ready.settings
        engine = settings.engine.model_copy(update={"drafts": False, "join": False})
        common: dict[str, Any] = {
            "path": model_path(settings.model.name),
            "context": settings.model.context,
            "threads": thread_count(settings.model),
            "engine": engine,
        }
        self._forgetful = ChatLlama(**common)
        self._keeping = ChatLlama(**common, states=settings.states_dir)
        self._warmer = Warmer(self._keeping, ready.index)

    def run(self, case: Case, max_tokens: int, joined: bool) -> dict[str, Any] | None:
        """Answers and times of one case by variant; None if the course does not seem to cover it."""
        chain = self._ready.chain
        found = chain.retriever.retrieve(case.question)
        plan = chain.planner.plan(case.question, found) if found.covered else None
        if plan is None:
            return None
        prompt = answer_prompt(plan, False, (), case.question)
        self._read(plan.section_id)
        variants = {
            FULL: _answer(self._forgetful, prompt, max_tokens),
            SAVED: _answer(self._keeping, prompt, max_tokens),
            DRAFTS: _answer(self._switched(drafts=True), prompt, max_tokens),
        }
        if joined:
            variants[JOINED] = _answer(self._switched(join=True), self._joined_prompt(plan, found, case), max_tokens)
        self._switched(drafts=False, join=False)
        tokens = self._forgetful.prompt_tokens(prompt)
        full = variants[FULL]["text"]
        differing = [name for name in (SAVED, DRAFTS) if variants[name]["text"] != full]
        return {
            "case": case.id,
            "prompt_tokens": len(tokens),
            "extra_tokens": plan.extra_tokens,
            "right": {name: case.is_right(answer["text"]) for name, answer in variants.items()},
            "margins": {name: self._margin(tokens, full, variants[name]["text"]) for name in differing},
            "answers": variants,
        }

    def _switched(self, **changes: bool) -> ChatLlama:
        self._keeping.engine = self._keeping.engine.model_copy(update=changes)
        return self._keeping

    def _read(self, section_id: str) -> None:
        passages = self._ready.index.section_passages(section_id)
        if not self._warmer.is_ready(section_id, passages):
            self._keeping.compute_ahead([section_prompt(section_id, passages)], threading.Event())

    def _joined_prompt(self, plan: Plan, found: Retrieved, case: Case) -> list[BaseMessage]:
        for section_id in list(dict.fromkeys(item.passage.section_id for item in found.passages))[:_SECTIONS]:
            self._read(section_id)
        further = [section_block(*section) for section in self._warmer.further(plan, found)]
        return answer_prompt(plan, False, (), case.question, further)

    def _margin(self, prompt: list[int], text: str, other: str) -> float:
        """Difference of the two best logits where two answers part, when everything before is read at once."""
        pool, engine = self._forgetful.scheduler.pool, self._forgetful.scheduler.engine
        a, b = (engine.tokenize(answer, special=False) for answer in (text, other))
        shared = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        tokens = prompt + a[:shared]
        pool.clear()
        for start in range(0, len(tokens), engine.batch):
            part = tokens[start : start + engine.batch]
            engine.compute([Row(t, start + i, _SPARE, start + i == len(tokens) - 1) for i, t in enumerate(part)])
        second, best = np.sort(engine.logits(len(part) - 1))[-2:]
        engine.cut(_SPARE, 0)
        return float(best - second)


def _answer(model: ChatLlama, prompt: Sequence[BaseMessage], max_tokens: int) -> dict[str, Any]:
    """Text and times of an answer for which nothing is in memory."""
    model.scheduler.pool.flush()
    model.scheduler.pool.clear()  # nobody else asks
    started, first, text = time.perf_counter(), None, ""
    usage: Any = None
    for chunk in model.stream(list(prompt), max_tokens=max_tokens):
        first = first or time.perf_counter() - started
        text += str(chunk.content)
        usage = getattr(chunk, "usage_metadata", None) or usage
    writing = time.perf_counter() - started - (first or 0.0)
    rate = (usage["output_tokens"] - 1) / writing if usage["output_tokens"] > 1 else None
    return {"text": text, "ttft_s": first, "tokens_per_s": rate, "cached": usage["input_token_details"]["cache_read"]}


def report(results: Sequence[dict[str, Any]]) -> None:
    """Print the figures."""
    names = [name for name in (FULL, SAVED, DRAFTS, JOINED) if results and name in results[0]["answers"]]
    print(f"\n{len(results)} prompts of {spread([float(r['prompt_tokens']) for r in results])} tokens")
    for name in names:
        answers = [result["answers"][name] for result in results]
        print(f"\n{name}: {sum(result['right'][name] for result in results)} of {len(results)} hold the gold fact")
        print(f"  first token {spread([a['ttft_s'] for a in answers], ' s')}")
        print(f"  tokens/s    {spread([a['tokens_per_s'] for a in answers if a['tokens_per_s']])}")
        if name != FULL:
            _report_difference(results, name)


def _report_difference(results: Sequence[dict[str, Any]], name: str) -> None:
    same = sum(result["answers"][name]["text"] == result["answers"][FULL]["text"] for result in results)
    better = sum(r["right"][name] and not r["right"][FULL] for r in results)
    worse = sum(r["right"][FULL] and not r["right"][name] for r in results)
    p = binomtest(better, better + worse).pvalue if better + worse else 1.0
    print(f"  same text as full prefill: {same} of {len(results)}")
    print(f"  gold fact won {better}, lost {worse} (McNemar exact p = {p:.2f})")
    ratios = [r["answers"][FULL]["ttft_s"] / r["answers"][name]["ttft_s"] for r in results]
    print(f"  full / {name}, first token: {spread(ratios)}")
    if margins := sorted(r["margins"][name] for r in results if name in r["margins"]):
        print(f"  where they part, the best two logits differ by {', '.join(f'{margin:.3f}' for margin in margins)}")


if __name__ == "__main__":
    typer.run(main)
