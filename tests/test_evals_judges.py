"""Judges: what they say of sentences and passages, and what happens where one cannot be had."""

import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import BagOfWordsEmbedder

from course_guard.support.endpoint import EndpointJudge
from course_guard.support.entailment import EntailmentJudge, entailment_judge, windows
from evals.judges import RememberingJudge, make_judge
from evals.judges.overlap import OverlapJudge
from evals.judges.trivial import AlwaysJudge, CoverageJudge
from evals.running.cache import Cache
from knowledge.errors import CourseError, MissingModel

PASSAGES = ("Bees dance to show where food is.", "A hive holds about 40000 bees in summer.")


class CountingEmbedder(BagOfWordsEmbedder):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def embed(self, texts: Sequence[str]) -> Any:
        self.seen += texts
        return super().embed(texts)


def environment(cache: Cache | None = None) -> Any:
    return SimpleNamespace(cache=cache or Cache(None))


class TestMaking:
    @pytest.mark.parametrize("name", ["", "overlap2", "nli", "nli:", "openai", "coverage:1"])
    def test_an_unknown_name_lists_what_there_is(self, name: str) -> None:
        with pytest.raises(CourseError, match="overlap, reread, trained, coverage, always, nli:FOLDER, openai:URL#MODEL"):
            make_judge(name, environment())

    def test_missing_weights_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(MissingModel):
            make_judge("overlap", environment())
        with pytest.raises(CourseError, match="holds no entailment model"):
            make_judge(f"nli:{tmp_path}", environment())

    @pytest.mark.parametrize("where", ["gpt-4", "http://host", "#model", "ftp://host#model", "http://#model"])
    def test_an_endpoint_needs_url_and_model(self, where: str) -> None:
        with pytest.raises(CourseError, match="openai:URL#MODEL"):
            make_judge(f"openai:{where}", environment())

    def test_verdicts_are_kept(self, tmp_path: Path) -> None:
        class Slow(CoverageJudge):
            calls = 0

            def support(self, *args: Any, **kwargs: Any) -> list[float]:
                Slow.calls += 1
                return super().support(*args, **kwargs)

        for expected in (1, 1):  # the second one finds what the first one left on disk
            judge = RememberingJudge(Slow(), environment(cache=Cache(tmp_path / "cache")))
            assert judge.support(["Bees dance."], PASSAGES) == [1.0]
            assert Slow.calls == expected
        judge.support(["Bees dance."], PASSAGES, "why?")
        judge.support(["Bees dance."], PASSAGES[:1])
        assert (Slow.calls, judge.identity, judge.threshold) == (3, CoverageJudge.identity, CoverageJudge.threshold)


class TestTrivial:
    def test_coverage_is_the_share_of_content_words(self) -> None:
        sentences = ["The bees danced.", "Bees sing.", "Whales sing.", "It is so.", "Do whales dance?"]
        found = CoverageJudge().support(sentences, PASSAGES)
        assert found == [1.0, 0.5, 0.0, 1.0, 0.5]
        assert CoverageJudge().support(["Whales dance."], PASSAGES, "Do whales dance?") == [1.0]

    def test_always_flags_everything(self) -> None:
        judge = AlwaysJudge()
        assert all(value < judge.threshold for value in judge.support(list(PASSAGES), PASSAGES))


class TestOverlap:
    def test_what_the_passages_say_is_supported(self) -> None:
        judge = OverlapJudge(BagOfWordsEmbedder())
        said, unsaid = judge.support(["Bees dance to show food.", "Whales sing in the deep ocean."], PASSAGES)
        assert said >= judge.threshold > unsaid

    def test_only_claimed_numbers_must_be_there(self) -> None:
        support = OverlapJudge(BagOfWordsEmbedder()).support
        sentences = ["A hive holds 300 bees.", "3. Bees dance to show where food is.", "In passage 7, bees dance to show food."]
        wrong, listed, named = support(sentences, PASSAGES)
        assert wrong == 0.0
        assert min(listed, named) > 0.5

    def test_a_sentence_that_claims_nothing_passes(self) -> None:
        assert OverlapJudge(BagOfWordsEmbedder()).support(["It is so.", "1."], PASSAGES) == [1.0, 1.0]

    def test_nothing_supports_without_passages(self) -> None:
        assert OverlapJudge(BagOfWordsEmbedder()).support(["Bees dance."], []) == [0.0]
        assert OverlapJudge(BagOfWordsEmbedder()).support([], PASSAGES) == []

    def test_no_text_is_embedded_twice(self) -> None:
        embedder = CountingEmbedder()
        judge = OverlapJudge(embedder)
        sentences = [PASSAGES[1], "Every beehive holds many busy bees."]
        assert judge.support(sentences, PASSAGES) == judge.support(sentences, PASSAGES)
        assert sorted(embedder.seen) == sorted({*PASSAGES, *sentences})

    def test_it_forgets_before_it_fills_the_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("evals.judges.overlap._MOST_VECTORS", 2)
        judge = OverlapJudge(BagOfWordsEmbedder())
        for _ in range(3):
            judge.support(["Bees sing loudly today.", "Hives hold many bees."], PASSAGES)
        assert len(judge._embedder._known) <= 5  # what one call needs at most

    def test_its_identity_names_embedder_and_code(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = OverlapJudge(BagOfWordsEmbedder()).identity
        assert before == OverlapJudge(BagOfWordsEmbedder()).identity
        assert BagOfWordsEmbedder.identity in before
        monkeypatch.setattr("evals.judges.overlap.getsource", lambda module: "other code")
        assert OverlapJudge(BagOfWordsEmbedder()).identity != before


class FakePairs:
    """Entails where every word of the claim stands in the premise."""

    def __init__(self, labels: int = 3, entailment: int = 0) -> None:
        self.labels, self.entailment, self.pairs = labels, entailment, [()]

    def predict(self, inputs: list[tuple[str, str]], **options: Any) -> np.ndarray:
        self.pairs = list(inputs)
        logits = np.zeros((len(inputs), self.labels))
        for row, (premise, claim) in enumerate(inputs):
            entails = set(claim.lower().strip(".").split()) <= set(premise.lower().strip(".").split())
            logits[row, self.entailment] = 5.0 if entails else -5.0
        return logits[:, 0] if self.labels == 1 else logits


class TestEntailment:
    @pytest.mark.parametrize(
        ("labels", "model"),
        [
            ({0: "entailment", 1: "neutral", 2: "contradiction"}, FakePairs(3, 0)),
            ({0: "CONTRADICTION", 1: "ENTAILMENT"}, FakePairs(2, 1)),
            ({0: "LABEL_0"}, FakePairs(1)),
        ],
    )
    def test_the_best_window_counts(self, labels: dict[int, str], model: FakePairs) -> None:
        judge = EntailmentJudge(model, labels, "nli:x")
        said, unsaid = judge.support(["A hive holds about 40000 bees", "A hive holds some bears"], PASSAGES)
        assert said > 0.9
        assert unsaid < judge.threshold
        assert len(model.pairs) == 4

    def test_a_model_that_knows_no_entailment_is_refused(self) -> None:
        with pytest.raises(CourseError, match="good, bad"):
            EntailmentJudge(FakePairs(2), {0: "good", 1: "bad"}, "nli:x")

    def test_a_fragment_is_read_with_its_question(self) -> None:
        model = FakePairs(1)
        EntailmentJudge(model, {0: "x"}, "nli:x").support(
            ["40000", "A hive holds many thousand busy bees."], PASSAGES, "How many?"
        )
        assert {claim for _, claim in model.pairs} == {"How many? 40000", "A hive holds many thousand busy bees."}

    def test_nothing_supports_without_passages(self) -> None:
        judge = EntailmentJudge(FakePairs(1), {0: "x"}, "nli:x")
        assert (judge.support(["Bees."], []), judge.support([], PASSAGES)) == ([0.0], [])

    def test_windows_keep_every_sentence_whole(self) -> None:
        text = " ".join(f"Sentence number {n} has exactly seven words." for n in range(60))
        found = windows(text)
        assert " ".join(found) == text
        assert all(len(window.split()) <= 150 for window in found)
        assert len(found) == 3
        assert windows("") == []

    @pytest.mark.model  # imports torch; the weights are made here
    def test_a_cross_encoder_on_disk(self, tmp_path: Path) -> None:
        import torch
        from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

        torch.manual_seed(0)
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "bees", "dance", "sing"]
        (tmp_path / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
        labels = {0: "contradiction", 1: "entailment"}
        config = BertConfig(
            vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
            initializer_range=1.0, id2label=labels, label2id={name: number for number, name in labels.items()},
        )  # fmt: skip
        model, tokenizer = (
            BertForSequenceClassification(config).eval(),
            BertTokenizerFast(vocab_file=str(tmp_path / "vocab.txt")),
        )
        model.save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        claims, premises = ["bees dance", "bees sing"], ["dance bees", "sing"]
        judge = entailment_judge(str(tmp_path))
        found = judge.support(claims, premises)
        for claim, value in zip(claims, found, strict=True):
            with torch.no_grad():
                logits = model(**tokenizer(premises, [claim] * 2, padding=True, return_tensors="pt")).logits
            assert value == pytest.approx(float(logits.softmax(-1)[:, 1].max()), abs=1e-3)
        assert judge.identity.startswith(f"nli:{tmp_path.name}:")


class FakeEndpoint(BaseHTTPRequestHandler):
    """Speaks /v1/chat/completions; the class says what to reply."""

    requests: list[dict[str, Any]] = []
    keys: list[str | None] = []
    status, reply = 200, ""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        FakeEndpoint.requests.append(body)
        FakeEndpoint.keys.append(self.headers.get("Authorization"))
        asked = body["messages"][-1]["content"].count("\nSentence ")
        reply = FakeEndpoint.reply or "\n".join(f"{n}: {n}" for n in range(1, asked + 1))
        good = (
            {"choices": [{"message": {"role": "assistant", "content": reply}}]} if self.path == "/v1/chat/completions" else {}
        )
        answer = json.dumps(good if FakeEndpoint.status == 200 else {"error": "no such model"}).encode()
        self.send_response(FakeEndpoint.status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, value in (("requests", []), ("keys", []), ("status", 200), ("reply", "")):
        monkeypatch.setattr(FakeEndpoint, name, value)
    server = HTTPServer(("127.0.0.1", 0), FakeEndpoint)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
    thread.join(5)


class TestEndpoint:
    def test_one_request_for_an_answer(self, url: str) -> None:
        judge = make_judge(f"openai:{url}#big", environment())
        assert judge.support(["Bees dance.", "Bees\nsing."], PASSAGES, "What do bees do?") == [0.01, 0.02]
        (request,) = FakeEndpoint.requests
        assert (request["model"], request["temperature"]) == ("big", 0)
        text = request["messages"][-1]["content"]
        assert all(
            part in text for part in (*PASSAGES, "What do bees do?", "Sentence 1: Bees dance.", "Sentence 2: Bees sing.")
        )
        assert judge.identity.startswith(f"openai:{url}#big:")
        assert FakeEndpoint.keys == [None]

    def test_long_answers_are_asked_in_parts(self, url: str) -> None:
        found = EndpointJudge(url, "big").support([f"Bee {n}." for n in range(45)], PASSAGES)
        assert found == [n / 100 for n in (*range(1, 21), *range(1, 21), *range(1, 6))]
        assert len(FakeEndpoint.requests) == 3

    def test_the_key_comes_from_the_environment(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LECTERN_JUDGE_KEY", "word")
        EndpointJudge(url, "big").support(["Bees."], PASSAGES)
        assert FakeEndpoint.keys == ["Bearer word"]

    @pytest.mark.parametrize("reply", ["1: 90\n2: 5", "<think>1: 0\n2: 0</think>\n1. 90%\n2) 5.0", "Sure!\n**1**: 90\n- 2: 5%"])
    def test_replies_in_slightly_other_forms(self, url: str, reply: str) -> None:
        FakeEndpoint.reply = reply
        assert EndpointJudge(url, "big").support(["Bees.", "Bears."], PASSAGES) == [0.9, 0.05]

    @pytest.mark.parametrize("reply", ["1: 90", "Both are fine.", "1: 90\n2: 500"])
    def test_a_reply_that_says_too_little_is_no_verdict(self, url: str, reply: str) -> None:
        FakeEndpoint.reply = reply
        with pytest.raises(CourseError, match="each of 2 sentences"):
            EndpointJudge(url, "big").support(["Bees.", "Bears."], PASSAGES)

    def test_what_is_wrong_with_the_endpoint_is_said(self, url: str) -> None:
        with pytest.raises(CourseError, match="does not speak the interface"):
            EndpointJudge(f"{url}/wrong", "big").support(["Bees."], PASSAGES)
        FakeEndpoint.status = 404
        with pytest.raises(CourseError, match="replied 404: .*no such model"):
            EndpointJudge(url, "big").support(["Bees."], PASSAGES)
        with pytest.raises(CourseError, match="does not answer"):
            EndpointJudge("http://127.0.0.1:9/v1", "big", seconds=2).support(["Bees."], PASSAGES)


def test_the_rereading_judge_orders_by_what_the_model_says(monkeypatch: pytest.MonkeyPatch) -> None:
    from evals.judges import rereading

    asked: list[str] = []

    def margin(self: object, text: str, claim: str) -> float:
        asked.append(claim)
        return 2.0 if "show" in claim else -2.0

    monkeypatch.setattr(rereading, "chat_model", lambda settings: None)
    monkeypatch.setattr(rereading.identity, "of_model_calls", lambda settings: {"model": "m"})
    monkeypatch.setattr(rereading.reread.RereadVerifier, "margin", margin)
    judge = rereading.RereadJudge(BagOfWordsEmbedder())
    said = [
        "- Bees dance to show where all food is.",
        "Bees dance to hide where food is.",
        "Whales sing.",
        "Bees dance.",
        "...",
    ]
    right, wrong, strange, copied, nothing = judge.support(said, PASSAGES)
    assert asked == ["Bees dance to show where all food is.", "Bees dance to hide where food is."]
    assert right > judge.threshold > wrong > strange
    assert (copied > judge.threshold, nothing) == (True, 1.0)
    assert judge.identity.startswith("reread:")
