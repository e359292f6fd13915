"""The reader that loaders share, and the loaders of the sets that judges are measured on, with files made here."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from evals.sets import attributionbench, data_folder, halueval, nli, qags, ragtruth, read_csv, read_jsonl, wice
from evals.task import split_of
from knowledge.errors import CourseError


def jsonl(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def table(path: Path, *rows: dict[str, str]) -> Path:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


class TestReader:
    def test_jsonl_gives_objects_and_skips_empty_lines(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jsonl"
        path.write_text('{"x": "é"}\n\n{"x": "b"}\n', encoding="utf-8")
        assert [record.text("x") for record in read_jsonl(path)] == ["é", "b"]

    @pytest.mark.parametrize(("line", "problem"), [('{"x": 1', "not JSON"), ("[1]", "not a JSON object")])
    def test_a_bad_line_is_named(self, tmp_path: Path, line: str, problem: str) -> None:
        path = tmp_path / "a.jsonl"
        path.write_text(f'{{"x": 1}}\n{line}\n', encoding="utf-8")
        with pytest.raises(CourseError, match=rf"a\.jsonl, line 2: {problem}"):
            list(read_jsonl(path))

    def test_bytes_that_are_no_text_are_named(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jsonl"
        path.write_bytes(b'{"x": "\xff"}\n')
        with pytest.raises(CourseError, match=r"a\.jsonl, line 1: not JSON"):
            list(read_jsonl(path))

    def test_a_missing_or_wrong_key_is_named_with_its_line(self, tmp_path: Path) -> None:
        record = next(read_jsonl(jsonl(tmp_path / "a.jsonl", {"x": 1, "flag": True, "items": ["no object"]})))
        with pytest.raises(CourseError, match=r'line 1: "y" is missing'):
            record.text("y")
        with pytest.raises(CourseError, match=r'line 1: "x" is int, str is expected'):
            record.text("x")
        with pytest.raises(CourseError, match='"flag" is bool'):
            record.get("flag", int)
        with pytest.raises(CourseError, match='"items" is not a list of objects'):
            record.inner("items")

    def test_csv_names_the_line_where_a_row_ends(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_text('x,y\n"1\n1",2\n3\n', encoding="utf-8")
        rows = read_csv(path)
        assert dict(next(rows).values) == {"x": "1\n1", "y": "2"}
        with pytest.raises(CourseError, match=r"a\.csv, line 4: 2 values are expected"):
            next(rows)

    def test_csv_takes_long_values(self, tmp_path: Path) -> None:
        long = "word " * 40_000
        assert next(read_csv(table(tmp_path / "a.csv", {"x": long}))).text("x") == long

    @pytest.mark.parametrize("read", [read_jsonl, read_csv])
    def test_a_missing_file_is_named(self, tmp_path: Path, read: Any) -> None:
        with pytest.raises(CourseError, match="gone cannot be read"):
            list(read(tmp_path / "gone"))

    def test_a_missing_set_says_how_to_give_it(self, tmp_path: Path) -> None:
        (tmp_path / "there").mkdir()
        assert data_folder(tmp_path, "there") == tmp_path / "there"
        for data in (None, tmp_path):
            with pytest.raises(CourseError, match="absent.*--data"):
                data_folder(data, "absent")


def span(text: str, part: str) -> dict[str, Any]:
    start = text.index(part)
    return {"start": start, "end": start + len(part), "text": part, "label_type": "Evident Conflict"}


class TestRagtruth:
    ANSWER = "Bees sleep. They see red light well. Hives hum."

    def qa(self, folder: Path, source: int = 7, marked: str = "red light") -> Path:
        passages = "passage 1:Bees sleep at night.\n\npassage 2:Bees see no red.\n\n"
        answers = [
            {"response": self.ANSWER, "model": "m1", "labels": [span(self.ANSWER, marked)]},
            {"response": "Bees sleep.", "model": "m2", "labels": []},
        ]
        row = {"source_id": source, "source": {"question": "what do bees see", "passages": passages}, "responses": answers}
        return jsonl(folder / "ragtruth_qa.jsonl", row).parent

    def test_spans_become_labels_of_sentences(self, tmp_path: Path) -> None:
        first, second = ragtruth.read(self.qa(tmp_path / "f"))
        assert first.input["sentences"] == ["Bees sleep.", "They see red light well.", "Hives hum."]
        assert first.input["passages"] == ["Bees sleep at night.", "Bees see no red."]
        assert first.input["question"] == "what do bees see"
        assert first.target == {"unsupported": [0, 1, 0], "part": "m1"}
        assert second.target == {"unsupported": [0], "part": "m2"}
        assert first.id != second.id
        assert first.group == second.group == "7"
        assert first.split == split_of("7")

    def test_a_span_over_two_sentences_marks_both(self, tmp_path: Path) -> None:
        first, _ = ragtruth.read(self.qa(tmp_path / "f", marked="light well. Hives"))
        assert first.target["unsupported"] == [0, 1, 1]

    def test_labels_are_not_in_the_input(self, tmp_path: Path) -> None:
        for sample in ragtruth.read(self.qa(tmp_path / "f")):
            assert set(sample.input) == {"question", "passages", "sentences"}

    def test_summaries_have_one_passage_and_no_question(self, tmp_path: Path) -> None:
        row = {"source_id": 1, "source": "An article.", "responses": [{"response": "Short.", "model": "m", "labels": []}]}
        jsonl(tmp_path / "ragtruth_summary.jsonl", row)
        (sample,) = ragtruth.read(tmp_path, "summary")
        assert (sample.input["passages"], sample.input["question"]) == (["An article."], "")

    def test_a_record_is_written_out(self, tmp_path: Path) -> None:
        source = {"name": "Bee Bar", "hours": {"Monday": "9-5"}, "reviews": [{"stars": 5.0}, {"stars": 1.0}]}
        row = {"source_id": 1, "source": source, "responses": [{"response": "Open.", "model": "m", "labels": []}]}
        jsonl(tmp_path / "ragtruth_data2txt.jsonl", row)
        (sample,) = ragtruth.read(tmp_path, "data2txt")
        (text,) = sample.input["passages"]
        assert text.split("\n\n") == ["name: Bee Bar", "hours Monday: 9-5", "reviews stars: 5.0", "reviews stars: 1.0"]

    def test_questions_show_no_answer(self, tmp_path: Path) -> None:
        (sample,) = ragtruth.questions(self.qa(tmp_path / "f"))
        assert set(sample.input) == {"question", "passages"}
        assert (sample.split, sample.target) == ("test", {})

    def test_published_answers_join_their_passages(self, tmp_path: Path) -> None:
        row = {"source_id": "7", "candidate_text": "Bees hum.", "classification": "Inconsistent", "prompt": "secret"}
        verdicts = jsonl(tmp_path / "v" / "ragtruth-qa_hallucination_eval.txt", row).parent
        (sample,) = ragtruth.published(self.qa(tmp_path / "f"), verdicts)
        assert sample.input["answer"] == "Bees hum."
        assert sample.input["passages"][0] == "Bees sleep at night."
        assert sample.target == {"inconsistent": 1}
        assert "secret" not in str(sample)

    @pytest.mark.parametrize(("key", "value"), [("source_id", "8"), ("classification", "Invalid")])
    def test_published_answers_that_fit_nothing_are_named(self, tmp_path: Path, key: str, value: str) -> None:
        row = {"source_id": "7", "candidate_text": "Bees hum.", "classification": "Consistent"} | {key: value}
        verdicts = jsonl(tmp_path / "v" / "ragtruth-qa_hallucination_eval.txt", row).parent
        with pytest.raises(CourseError, match=f"line 1: .*{value}"):
            list(ragtruth.published(self.qa(tmp_path / "f"), verdicts))


def test_attributionbench(tmp_path: Path) -> None:
    row = {
        "question": "q",
        "claim": "c",
        "references": ["r1", " "],
        "attribution_label": "attributable",
        "src_dataset": "LFQA",
        "id": "1",
    }
    other = row | {"id": "2", "attribution_label": "not attributable", "src_dataset": "HAGRID"}
    jsonl(tmp_path / attributionbench.FILES[0], row, row | {"id": "3", "references": []})
    jsonl(tmp_path / attributionbench.FILES[1], other)
    first, second = attributionbench.read(tmp_path)
    assert (first.id, first.input["passages"], first.input["sentences"], first.target["unsupported"]) == (
        "1",
        ["r1"],
        ["c"],
        [0],
    )
    assert (second.id, second.target) == ("2", {"unsupported": [1], "part": "HAGRID"})
    assert first.group == second.group
    jsonl(tmp_path / attributionbench.FILES[1], other | {"attribution_label": "maybe"})
    with pytest.raises(CourseError, match=r"line 1: .*maybe"):
        list(attributionbench.read(tmp_path))


def test_wice_takes_each_claim_once_and_keeps_its_own_halves(tmp_path: Path) -> None:
    def row(id: str, label: str, *evidence: str) -> dict[str, Any]:
        return {"label": label, "claim": f"claim {id}", "evidence": evidence, "meta": {"id": id, "claim_title": "T"}}

    jsonl(tmp_path / "oracle_claim_dev.jsonl", row("a", "supported", "x", "y"), row("a", "supported", "z"))
    jsonl(tmp_path / "oracle_claim_test.jsonl", row("b", "partially_supported", "x"), row("c", "not_supported", "x"))
    samples = list(wice.read(tmp_path))
    assert [(s.id, s.split, s.target["unsupported"]) for s in samples] == [
        ("a", "dev", [0]),
        ("b", "test", [1]),
        ("c", "test", [1]),
    ]
    assert samples[0].input["passages"] == ["x\n\ny"]


def test_qags_takes_the_majority(tmp_path: Path) -> None:
    def sentence(text: str, *votes: str) -> dict[str, Any]:
        return {"sentence": text, "responses": [{"worker_id": n, "response": vote} for n, vote in enumerate(votes)]}

    sentences = [sentence("a", "yes", "no", "yes"), sentence("b", "no", "yes", "no")]
    for part in qags.PARTS:
        jsonl(tmp_path / f"mturk_{part}.jsonl", {"article": "text", "summary_sentences": sentences})
    first, second = qags.read(tmp_path)
    assert first.input["sentences"] == ["a", "b"]
    assert first.target == {"unsupported": [0, 1], "part": "cnndm"}
    assert (first.group, first.id) != (second.group, second.id)
    assert first.group == second.group


def test_halueval_gives_both_answers(tmp_path: Path) -> None:
    row = {"knowledge": "k", "question": " q?", "right_answer": "right", "hallucinated_answer": "wrong"}
    for part in halueval.PARTS:
        jsonl(tmp_path / f"qa_{part}_data.json", row)
    samples = list(halueval.read(tmp_path))
    assert [(s.input["sentences"], s.target["unsupported"]) for s in samples] == [(["right"], [0]), (["wrong"], [1])] * 2
    assert {s.group for s in samples} == {"q?"}
    assert len({s.id for s in samples}) == 4


class TestNli:
    def folders(self, root: Path, label: str = "neutral") -> tuple[Path, Path]:
        pair = {"premise": "All bees hum.", "hypothesis": "Some bees hum.", "label": "entailment"}
        for name in nli.NLI_SETS:
            table(root / "nli" / f"{name}_dev.csv", pair, pair, pair | {"hypothesis": "No bee hums.", "label": label})
        for name in nli.ANLI_ROUNDS:
            row = {"context": "Bees hum.", "statement": "Bees sing.", "gold_label": "n"}
            table(root / "anli" / f"ANLI_analysis_{name}_dev.csv", row)
        return root / "nli", root / "anli"

    def test_only_entailment_is_support_and_a_pair_counts_once(self, tmp_path: Path) -> None:
        samples = list(nli.read(*self.folders(tmp_path)))
        assert len(samples) == 2 * len(nli.NLI_SETS) + len(nli.ANLI_ROUNDS)
        found = {(s.target["part"], s.input["sentences"][0]): s.target["unsupported"] for s in samples}
        assert found["snli", "Some bees hum."] == [0]
        assert found["snli", "No bee hums."] == found["anli_r2", "Bees sing."] == [1]

    def test_no_more_than_agreed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(nli, "MOST_PAIRS", 1)
        samples = list(nli.read(*self.folders(tmp_path)))
        assert len(samples) == len(nli.NLI_SETS) + len(nli.ANLI_ROUNDS)

    def test_an_unknown_label_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(CourseError, match=r"snli_dev\.csv, line 4: .*perhaps"):
            list(nli.read(*self.folders(tmp_path, "perhaps")))
