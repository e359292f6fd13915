"""Does an answer from saved state equal one from a full prefill? `python -m evals.bench.same [--limit N]`.

Covered cases of the starter course, with the prompt that the assistant would make. The answer is written from the saved state
of its section, and then prompt and answer are read from nothing: a full prefill agrees where it finds each token of the answer
the likeliest. Where it does not, the other token was likelier by the margin that is printed. With --drafts the answer is
written again with guesses, with --joined from three joined sections, which is an approximation and compared by the gold fact.
Nothing is in memory before each. States that are missing are computed and kept.
"""

import json
import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

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

SAVED, DRAFTS, JOINED = "saved", "drafts", "joined"
_SPARE = 0  # a sequence of the engine that no answer uses
_SECTIONS = 3  # that are joined


def main(
    limit: Annotated[int, typer.Option(help="A random sample of this size; 0 takes all.")] = 0,
    seed: Annotated[int, typer.Option(help="For the sample.")] = 0,
    max_tokens: Annotated[int, typer.Option(help="Longest answer; at most 128.", max=128)] = 60,
    drafts: Annotated[bool, typer.Option("--drafts", help="Also with guesses.")] = False,
    joined: Annotated[bool, typer.Option("--joined", help="Also from three joined sections.")] = False,
    out: Annotated[Path | None, typer.Option(help="Keep one JSON object a case here, and go on from it.")] = None,
) -> None:
    """Run the comparison with the settings in force."""
    go_offline()
    print(machine())
    comparison = Comparison(build(load_settings()), max_tokens)
    cases = [case for name in ("starter", "starter_dev") for case in read_cases(name) if case.answerable]
    if limit:
        cases = random.Random(seed).sample(cases, min(limit, len(cases)))
    results = [json.loads(line) for line in out.read_text().splitlines()] if out and out.exists() else []
    done = {result["case"] for result in results}
    for case in track(cases, description="Comparing", console=Console(stderr=True)):
        if case.id not in done and (result := comparison.run(case, drafts, joined)):
            results.append(result)
            if out:
                with out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(result, ensure_ascii=False) + "\n")
    report(results)


class Comparison:
    """Two engines with the same weights: one that keeps nothing, and one with the saved states of the settings."""

    def __init__(self, ready: Runtime, max_tokens: int) -> None:
        self._ready, self._max_tokens = ready, max_tokens
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

    def run(self, case: Case, drafts: bool, joined: bool) -> dict[str, Any] | None:
        """Answers and times of one case by variant; None if the course does not seem to cover it."""
        chain = self._ready.chain
        found = chain.retriever.retrieve(case.question)
        plan = chain.planner.plan(case.question, found) if found.covered else None
        if plan is None:
            return None
        prompt = answer_prompt(plan, False, (), case.question)
        self._read(plan.section_id)
        answers = {SAVED: self._answer(prompt)}
        if drafts:
            answers[DRAFTS] = self._answer(prompt, drafts=True)
        tokens = self._forgetful.prompt_tokens(prompt)
        full_s, doubts = self._read_in_full(tokens, [answer["tokens"] for answer in answers.values()])
        for answer, found_doubts in zip(answers.values(), doubts, strict=True):
            answer["doubts"] = found_doubts
        if joined:
            answers[JOINED] = self._answer(self._joined_prompt(plan, found, case), join=True)
        for answer in answers.values():
            answer["right"] = case.is_right(answer["text"])
        sizes = {"prompt_tokens": len(tokens), "extra_tokens": plan.extra_tokens}
        return {"case": case.id, **sizes, "full_s": full_s, "answers": answers}

    def _answer(self, prompt: Sequence[BaseMessage], **changes: bool) -> dict[str, Any]:
        """An answer for which nothing is in memory."""
        model = self._keeping
        before = model.engine
        model.engine = before.model_copy(update=changes)
        model.scheduler.pool.flush()
        model.scheduler.pool.clear()  # nobody else asks
        started = time.perf_counter()
        request = model._request(prompt, self._max_tokens)
        model.scheduler.submit(request)
        tokens, moments = [], []
        while isinstance(token := request.out.get(), int):
            tokens.append(token)
            moments.append(time.perf_counter())
        model.engine = before
        if token is not None:
            raise token
        text = b"".join(map(model.scheduler.engine.piece, tokens)).decode("utf-8", "replace")
        first = (moments[0] if moments else time.perf_counter()) - started
        rate = (len(tokens) - 1) / (moments[-1] - moments[0]) if len(tokens) > 1 else None
        return {"tokens": tokens, "text": text, "ttft_s": first, "tokens_per_s": rate}

    def _read_in_full(self, prompt: list[int], answers: Sequence[list[int]]) -> tuple[float, list[list[tuple[int, float]]]]:
        """Read a prompt from nothing, and after it each answer.

        Returns:
            Seconds until the first token is known; for each answer the places where another token is likelier than the one
            that was written, and by how much its logit is higher.
        """
        engine = self._forgetful.scheduler.engine
        started = time.perf_counter()
        for start in range(0, len(prompt), engine.batch):
            part = prompt[start : start + engine.batch]
            last = len(prompt) - start - 1
            engine.compute([Row(token, start + n, _SPARE, n == last) for n, token in enumerate(part)])
        first_s = time.perf_counter() - started
        before = engine.logits(len(part) - 1).copy()
        doubts = []
        for answer in answers:
            rows = [Row(token, len(prompt) + n, _SPARE, True) for n, token in enumerate(answer)]
            if rows:
                engine.compute(rows)
            logits = [before, *(engine.logits(n) for n in range(len(rows)))]
            found = [(n, float(seen.max() - seen[token])) for n, (token, seen) in enumerate(zip(answer, logits, strict=False))]
            if len(answer) < self._max_tokens and not engine.is_end(int(logits[-1].argmax())):
                ends = [seen for token, seen in enumerate(logits[-1]) if engine.is_end(token)]
                found.append((len(answer), float(logits[-1].max() - max(ends))))
            doubts.append([(place, margin) for place, margin in found if margin > 0])
            engine.cut(_SPARE, len(prompt))
        engine.cut(_SPARE, 0)
        return first_s, doubts

    def _read(self, section_id: str) -> None:
        passages = self._ready.index.section_passages(section_id)
        if not self._warmer.is_ready(section_id, passages):
            self._keeping.compute_ahead([section_prompt(section_id, passages)], threading.Event())

    def _joined_prompt(self, plan: Plan, found: Retrieved, case: Case) -> list[BaseMessage]:
        for section_id in list(dict.fromkeys(item.passage.section_id for item in found.passages))[:_SECTIONS]:
            self._read(section_id)
        before = self._keeping.engine
        self._keeping.engine = before.model_copy(update={"join": True})
        further = [section_block(*section) for section in self._warmer.further(plan, found)]
        self._keeping.engine = before
        return answer_prompt(plan, False, (), case.question, further)


def report(results: Sequence[dict[str, Any]]) -> None:
    """Print the figures."""
    print(f"\n{len(results)} prompts of {spread([float(r['prompt_tokens']) for r in results])} tokens")
    print(f"read in full, first token {spread([r['full_s'] for r in results], ' s')}")
    for name in (SAVED, DRAFTS, JOINED):
        with_it = [result for result in results if name in result["answers"]]
        if not with_it:
            continue
        answers = [result["answers"][name] for result in with_it]
        print(f"\n{name}: {sum(answer['right'] for answer in answers)} of {len(answers)} hold the gold fact")
        print(f"  first token {spread([a['ttft_s'] for a in answers], ' s')}")
        print(f"  full / {name}, first token: {spread([r['full_s'] / r['answers'][name]['ttft_s'] for r in with_it])}")
        print(f"  tokens/s    {spread([a['tokens_per_s'] for a in answers if a['tokens_per_s']])}")
        if name == JOINED:
            _report_facts(with_it)
        else:
            _report_doubts(answers)


def _report_doubts(answers: Sequence[dict[str, Any]]) -> None:
    tokens = sum(len(answer["tokens"]) for answer in answers)
    doubts = [margin for answer in answers for _, margin in answer["doubts"]]
    same = sum(not answer["doubts"] for answer in answers)
    print(f"  each token is the likeliest in a full prefill, too: {same} of {len(answers)} answers")
    print(f"  another is likelier: {len(doubts)} of {tokens} tokens", end="")
    print(f", by {', '.join(f'{margin:.3f}' for margin in sorted(doubts))}" if doubts else "")


def _report_facts(results: Sequence[dict[str, Any]]) -> None:
    right = [(result["answers"][JOINED]["right"], result["answers"][SAVED]["right"]) for result in results]
    better, worse = sum(j and not s for j, s in right), sum(s and not j for j, s in right)
    p = binomtest(better, better + worse).pvalue if better + worse else 1.0
    print(f"  gold fact against saved: won {better}, lost {worse} (McNemar exact p = {p:.3f})")


if __name__ == "__main__":
    typer.run(main)
