"""RAGTruth (Niu et al., 2024): answers of six models with the spans that people marked as not supported by the source.

Source: eval_data of github.com/vectara/FaithJudge, a part of RAGTruth's test split: ragtruth_qa.jsonl (139 questions with
three web passages each, 817 answers), ragtruth_summary.jsonl (150 news articles, 900 summaries) and ragtruth_data2txt.jsonl
(150 records of businesses, 900 descriptions). The published verdicts are those of FaithJudge (o3-mini with the marked answers
as examples) on 139 answers of Qwen2.5-1.5B-Instruct, from eval_results of the same repository. Licence: RAGTruth is MIT; the
repository states none. Splits: labelled answers in halves by the hash of the source; questions for an assistant are all
"test", as nothing is fitted on them.

A sentence is unsupported where a marked span touches it. Spans that people marked as true but not in the source count too:
whether the passages support a sentence is the question, not whether it is so.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from evals.sets import Record, read_jsonl
from evals.sets.claims import claims_sample
from evals.task import Sample
from knowledge.sentences import sentence_spans

Part = Literal["qa", "summary", "data2txt"]
_PASSAGE = re.compile(r"(?:\A|\n)\s*passage \d+:", re.IGNORECASE)
_VERDICTS = {"Consistent": 0, "Inconsistent": 1}


def read(folder: Path, part: Part = "qa") -> Iterator[Sample]:
    """Each answer as a sample of its sentences; `folder` is the set's own (faithjudge)."""
    for record in read_jsonl(folder / f"ragtruth_{part}.jsonl"):
        source, (question, passages) = _source_id(record), _source(record)
        for number, answer in enumerate(record.inner("responses")):
            text = answer.text("response")
            spans = [(span.get("start", int), span.get("end", int)) for span in answer.inner("labels")]
            sentences = sentence_spans(text)
            yield claims_sample(
                f"{source}-{number}",
                passages,
                [text[start:end] for start, end in sentences],
                [any(a < end and start < b for a, b in spans) for start, end in sentences],
                group=source,
                part=answer.text("model"),
                question=question,
            )


def questions(folder: Path) -> Iterator[Sample]:
    """The 139 questions with their passages, for an assistant to answer; the input has question and passages."""
    for record in read_jsonl(folder / "ragtruth_qa.jsonl"):
        source, (question, passages) = _source_id(record), _source(record)
        yield Sample(source, {"question": question, "passages": passages}, {}, source, "test")


def published(folder: Path, verdicts: Path) -> Iterator[Sample]:
    """The 139 published answers of Qwen2.5-1.5B-Instruct.

    Args:
        folder: faithjudge, for the passages.
        verdicts: faithjudge_qwen15b, for answers and verdicts.

    Yields:
        Samples whose input has question, passages and answer, and whose target has inconsistent, the published verdict (0, 1).
    """
    asked = {sample.id: sample for sample in questions(folder)}
    for record in read_jsonl(verdicts / "ragtruth-qa_hallucination_eval.txt"):  # JSON lines, whatever its name says
        source, verdict = record.text("source_id"), record.text("classification")
        if source not in asked:
            raise record.fault(f"source {source} is not in ragtruth_qa.jsonl")
        if verdict not in _VERDICTS:
            raise record.fault(f'"classification" is {verdict}, Consistent or Inconsistent is expected')
        seen = {**asked[source].input, "answer": record.text("candidate_text")}
        yield Sample(source, seen, {"inconsistent": _VERDICTS[verdict]}, source, asked[source].split)


def _source_id(record: Record) -> str:
    return str(record.get("source_id", int))


def _source(record: Record) -> tuple[str, list[str]]:
    """Question (empty unless it is one) and passages."""
    source = record.values.get("source")
    if isinstance(source, str):
        return "", [source]
    fields = Record(record.where, record.get("source", dict))
    if "passages" not in fields.values:
        return "", ["\n\n".join(_facts(fields.values))]
    passages = [piece.strip() for piece in _PASSAGE.split(fields.text("passages"))]
    return fields.text("question"), [piece for piece in passages if piece]


def _facts(value: Any, name: str = "") -> Iterator[str]:
    """A nested record as lines such as "hours Monday: 9:0-17:0"."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _facts(inner, f"{name} {key}".strip())
    elif isinstance(value, list):
        for inner in value:
            yield from _facts(inner, name)
    else:
        yield f"{name}: {value}"
