"""MTRAG (Katsis et al., 2025; github.com/IBM/mt-rag-benchmark): conversations with passages, and follow-up questions rewritten.

Two parts. mtragun-human/generation_tasks/reference.jsonl (folder mtrag_un): 507 conversations whose last question people
labelled ANSWERABLE (285), UNANSWERABLE (97), PARTIAL (47) or UNDERSPECIFIED (78). mtrag-human/retrieval_tasks (folder
mtrag_human): 777 questions of 110 conversations, each as typed and as people rewrote it to stand alone; the passages to search
are not at hand. Licence class: permissive (Apache-2.0). Splits: halves by the hash of the conversation.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from evals.sets import Record, read_jsonl
from evals.task import Sample, split_of
from knowledge.lexical import LexicalIndex

DOMAINS = ("clapnq", "cloud", "fiqa", "govt")
_DISTRACTORS = 3
_SPEAKER = re.compile(r"(?:\A|\n)\|user\|: ?")
_Earlier = list[dict[str, str]]


def read_answerability(folder: Path) -> Iterator[Sample]:
    """Each conversation's last question with what was said before and with passages.

    All unanswerable questions, and 33 others, come without passages, so that refusing them would prove nothing. They are given
    the three passages that BM25 finds for this question and the one before it among those of other conversations from the same
    collection: near the subject, and by the labels no answer. The target has label, answerable (1, 0, or None for the two
    labels in between) and given, whether the passages are the set's own.
    """
    records = list(read_jsonl(folder / "reference.jsonl"))
    texts: dict[str, dict[str, None]] = {}
    for record in records:
        texts.setdefault(record.text("Collection"), {}).update(dict.fromkeys(_contexts(record)))
    indexes = {name: LexicalIndex(list(found), list(found)) for name, found in texts.items()}
    for record in records:
        id, label = record.text("conversation_id"), str(record.get("answerability", list)[0])
        earlier, question = _conversation(record)
        passages = _contexts(record)
        given = bool(passages)
        if not given:
            searched = " ".join([*(turn["question"] for turn in earlier[-1:]), question])
            passages = [text for text, _ in indexes[record.text("Collection")].search(searched, _DISTRACTORS)]
        yield Sample(
            id,
            {"question": question, "earlier": earlier, "passages": passages},
            {"label": label, "answerable": {"ANSWERABLE": 1, "UNANSWERABLE": 0}.get(label), "given": int(given)},
            id,
            split_of(id),
        )


def read_rewrites(folder: Path) -> Iterator[Sample]:
    """Each question but the first of its conversation, with the questions before it; the target has rewrite.

    The answers in between are not part of the set, so a question that hangs on one cannot be resolved by anybody.
    """
    for domain in DOMAINS:
        rewrites = {r.text("_id"): r.text("text") for r in read_jsonl(folder / f"{domain}_rewrite.jsonl")}
        for record in read_jsonl(folder / f"{domain}_questions.jsonl"):
            id = record.text("_id")
            *earlier, question = _questions(record.text("text"))
            if id not in rewrites:
                raise record.fault(f'"{id}" has no rewrite in {domain}_rewrite.jsonl')
            if earlier:
                (rewrite,) = _questions(rewrites[id])
                conversation = id.partition("<")[0]
                seen = {"question": question, "earlier": earlier}
                yield Sample(id, seen, {"rewrite": rewrite, "domain": domain}, conversation, split_of(conversation))


def _conversation(record: Record) -> tuple[_Earlier, str]:
    turns = [(turn.text("speaker"), turn.text("text").strip()) for turn in record.inner("input")]
    if [speaker for speaker, _ in turns] != ["user", "agent"] * (len(turns) // 2) + ["user"]:
        raise record.fault('"input" must be turns of user and agent, the last one of the user')
    texts = [text for _, text in turns]
    pairs = zip(texts[:-1:2], texts[1::2], strict=True)
    return [{"question": question, "answer": answer} for question, answer in pairs], texts[-1]


def _contexts(record: Record) -> list[str]:
    return [context.text("text") for context in record.inner("contexts")]


def _questions(text: str) -> list[str]:
    return [part.strip() for part in _SPEAKER.split(text) if part.strip()]
