"""An Overview as `lectern bench` prints it for people."""

from collections.abc import Iterator

from evals.bench.engine import CONTEXT
from evals.bench.machine import spread
from evals.bench.overview import Overview

_TIMES = (1, 10, 100)


def lines(seen: Overview) -> Iterator[str]:
    """Everything, line by line."""
    yield f"{seen.machine}\n{seen.model}, {seen.threads} threads; load average before: {seen.load:.1f}"
    yield from _first_token(seen)
    yield from _limits(seen)
    yield from _batches(seen)
    yield from _drafts(seen)
    yield from _sweep(seen)
    yield from _cost(seen)


def _first_token(seen: Overview) -> Iterator[str]:
    reused = seen.reuse
    yield "\nTime to the first token, the same prompts in turn"
    yield _row("prompt", spread(reused.prompt_tokens, " tokens"))
    yield _row("read in full", spread(reused.full_s, " s"))
    yield _row("section from the disk", f"{spread(reused.warm_s, ' s')}, {spread(reused.fresh_tokens)} tokens computed")
    yield _row("section still in memory", spread(reused.held_s, " s"))
    yield _row("full / from the disk", spread(reused.ratios))


def _limits(seen: Overview) -> Iterator[str]:
    decode = seen.all_threads.decode
    yield f"\nOne answer, {CONTEXT} tokens before it"
    yield _row("written", f"{decode:.1f} tokens/s; with one thread {seen.one_thread.decode:.1f}")
    read = (seen.weight_bytes + CONTEXT * seen.cell_bytes) / 1e9
    for threads, rate in seen.bandwidth.items():
        yield _row(f"memory, threads: {threads}", f"{rate / 1e9:.1f} GB/s read, {read:.2f} GB a token")
    for name, limit, binds in (
        ("limit of memory", seen.bandwidth_limit, seen.bound_by == "memory"),
        ("limit of computation", seen.compute_limit, seen.bound_by == "computation"),
    ):
        yield _row(name, f"{limit:.1f} tokens/s, {decode / limit:.0%} reached{'  <- this one binds' if binds else ''}")
    yield "  (limit of computation: what one thread reaches, having the memory to itself, times the threads)"


def _batches(seen: Overview) -> Iterator[str]:
    yield "\nPrompt tokens/s, by rows of a batch (what computation allows a batch)"
    best = max(seen.all_threads.prefill.values())
    for rows, rate in seen.all_threads.prefill.items():
        mark = f"{' *' if rate == best else ''}{'  (in use)' if rows == seen.batch else ''}"
        yield _row(f"{rows} rows", f"{rate:.1f}{mark}")
    yield "\nDecode step, by rows (people answered at once, or guesses)"
    steps = seen.all_threads.step_s
    best = max(rows / seconds for rows, seconds in steps.items())
    for rows, seconds in steps.items():
        cost = f"{1000 * seconds:.0f} ms, {seconds / steps[1]:.2f} of one row"
        yield _row(f"{rows} rows", f"{cost}, {rows / seconds:.1f} tokens/s{' *' if rows / seconds == best else ''}")


def _drafts(seen: Overview) -> Iterator[str]:
    yield "\nTokens/s of answers with drafts and without, in turn"
    for kind, figures in seen.drafts.items():
        same = f"{figures.same} of {len(figures.on)} the same text"
        yield _row(f"{kind} answers", f"{spread(figures.on)} with, {spread(figures.off)} without, {same}")
        yield _row("  with / without", spread(figures.ratios))


def _sweep(seen: Overview) -> Iterator[str]:
    if not seen.sweep:
        return
    yield "\nOther settings: prompt tokens/s, decode tokens/s (* best)"
    reading = {setting: reached.prefill[setting.batch] for setting, reached in seen.sweep}
    writing = {setting: reached.decode for setting, reached in seen.sweep}
    for setting in reading:
        name = f"{setting.threads} threads, batch {setting.batch}{'' if setting.flash else ', no flash'}"
        stars = [" *" if rates[setting] == max(rates.values()) else "" for rates in (reading, writing)]
        yield _row(name, f"{reading[setting]:.1f}{stars[0]:<3} {writing[setting]:.1f}{stars[1]}")


def _cost(seen: Overview) -> Iterator[str]:
    size, seconds = seen.bytes_per_course_token, seen.seconds_per_course_token
    yield "\nCost of saved state"
    yield _row("1,000 tokens of course", f"{size / 1e3:.1f} MB, {1000 * seconds:.1f} s")
    yield _row("memory in use", f"{seen.rss / 1e6:,.0f} MB, weights included")
    for times in _TIMES:
        tokens = times * seen.course_tokens
        name = f"{seen.course}, {tokens:,} tokens" if times == 1 else f"{times} times as large (calculated)"
        yield _row(name, f"{size * tokens / 1e9:,.2f} GB, {seconds * tokens / 3600:,.1f} h")


def _row(name: str, value: str) -> str:
    return f"  {name:<38} {value}"
