import json
from hashlib import sha256

import numpy as np
import pytest

from course_guard.support.calibration import Calibration, Calibrator, read_calibration
from course_guard.support.cascade import TrainedVerifier
from course_guard.support.encoder import MANIFEST, Encoder
from course_guard.support.features import NAMES, PREMISES
from knowledge.errors import CourseError, MissingModel
from knowledge.passage import Passage

KEPLER = "Kepler's first law says that every planet moves on an ellipse. He published it in 1609. It was not believed at once."
PLANTS = "Plants make sugar from light. Chlorophyll absorbs red light. Green light is reflected by the leaves of most plants."


def passage(text, number, start=100):
    return Passage(f"p{number}", "d", "s", "course/x.md", f"Title {number}", (), None, None, start, start + len(text), text, 9)


def calibrator(weights, bias=0.0, threshold=0.5):
    names = tuple(weights)
    ones = (1.0,) * len(names)
    return Calibrator(
        names=names, mean=(0.0,) * len(names), scale=ones, weights=tuple(weights.values()), bias=bias, threshold=threshold
    )


class Reader:
    """Believes a claim of which a text has every word, and writes down what it reads."""

    identity = "reader:1"

    def __init__(self):
        self.read = []

    def logits(self, pairs):
        self.read.append(list(pairs))
        return np.array([5.0 if set(c.lower().split()) <= set(t.lower().split()) else -5.0 for t, c in pairs])


CALIBRATION = Calibration(
    encoder="reader:1",
    with_encoder=calibrator({"entailment": 1.0}),
    without_encoder=calibrator({"covered_all": 10.0, "names_missing": -9.0}, bias=-7.0),
)


@pytest.fixture
def verifier(embedder):
    return TrainedVerifier(embedder, calibration=CALIBRATION)


def test_a_supported_sentence_is_cited_at_its_place(verifier):
    support = verifier.against([passage(PLANTS, 1), passage(KEPLER, 2)], "").check("He published the first law in 1609.")
    assert support.probability > 0.5 and not support.reason
    assert [c.number for c in support.citations] == [2]
    cited = support.citations[0]
    assert KEPLER[cited.start - 100 : cited.end - 100] == cited.quote


def test_two_passages_are_cited_where_each_has_a_part(verifier):
    claim = "Every planet moves on an ellipse, and chlorophyll absorbs red light."
    support = verifier.against([passage(KEPLER, 1), passage(PLANTS, 2)], "").check(claim)
    assert {c.number for c in support.citations} == {1, 2}


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        ("Every planet moves on an ellipse since 1906.", "No source has the number 1906."),
        ("Every planet of Tycho moves on an ellipse.", "It names something that no source names."),
        ("The stock market fell sharply yesterday.", "No passage supports it well enough."),
        ("...", "It says nothing that could be checked."),
    ],
)
def test_what_is_not_supported_has_a_reason_and_no_citation(verifier, claim, reason):
    support = verifier.against([passage(KEPLER, 1)], "").check(claim)
    assert support.reason == reason and not support.citations
    assert support.probability < 0.5


def test_without_evidence_nothing_is_supported(verifier):
    assert verifier.against([], "").check("Planets move.").reason == "There is no evidence to check it against."


def test_a_number_of_the_question_may_be_repeated(verifier):
    checker = verifier.against([passage(KEPLER, 1)], "Did Kepler publish the law in 1700?")
    assert "1700" not in checker.check("He did not publish the law in 1700.").reason


def test_the_encoder_reads_a_few_windows_in_one_batch_and_decides(embedder):
    reader = Reader()
    verifier = TrainedVerifier(embedder, reader, calibration=CALIBRATION)
    checker = verifier.against([passage(PLANTS, 1), passage(KEPLER, 2)], "")
    assert checker.check("every planet moves on an").probability > 0.9
    assert checker.check("a planet of Kepler moves").probability < 0.1
    assert all(1 <= len(batch) <= PREMISES + 1 for batch in reader.read)
    assert KEPLER[:50] in reader.read[0][0][0]  # the best window comes first


def test_a_fragment_is_read_with_its_question(embedder):
    reader = Reader()
    TrainedVerifier(embedder, reader, calibration=CALIBRATION).against([passage(KEPLER, 1)], "When was it?").check("1609")
    assert {claim for _, claim in reader.read[0]} == {"When was it? 1609"}


def test_an_encoder_without_its_own_calibration_is_refused(embedder):
    reader = Reader()
    reader.identity = "reader:2"
    with pytest.raises(CourseError, match="no calibration for reader:2"):
        TrainedVerifier(embedder, reader, calibration=CALIBRATION)


def test_the_threshold_can_be_set(embedder):
    strict = TrainedVerifier(embedder, calibration=CALIBRATION, threshold=1.0).against([passage(KEPLER, 1)], "")
    assert not strict.check("Every planet moves on an ellipse.").citations


def test_a_broken_calibration_is_told_at_load(tmp_path):
    file = tmp_path / "calibration.json"
    with pytest.raises(CourseError, match="holds no calibration"):
        read_calibration(file)
    broken = CALIBRATION.model_dump() | {"without_encoder": CALIBRATION.without_encoder.model_dump() | {"weights": [1.0]}}
    file.write_text(json.dumps(broken))
    with pytest.raises(CourseError, match="differ in length"):
        read_calibration(file)
    file.write_text(CALIBRATION.model_dump_json())
    assert read_calibration(file) == CALIBRATION


def test_missing_or_foreign_weights_are_refused_with_a_remedy(tmp_path):
    with pytest.raises(MissingModel, match="No groundedness encoder"):
        Encoder(tmp_path)
    (tmp_path / "w.onnx").write_bytes(b"other")
    digest = sha256(b"weights").hexdigest()
    manifest = {"weights": "w.onnx", "tokenizer": "w.onnx", "longest": 256, "sha256": {"w.onnx": digest}}
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(MissingModel, match=r"w\.onnx is not the file"):
        Encoder(tmp_path)
    (tmp_path / "w.onnx").write_bytes(b"weights")
    assert Encoder(tmp_path).identity == f"encoder:{digest[:12]}"


class Session:
    """Gives each row the number of its tokens."""

    def run(self, _, inputs):
        assert {a.shape for a in inputs.values()} == {inputs["input_ids"].shape}
        return [inputs["attention_mask"].sum(axis=1, keepdims=True).astype(np.float32)]


def test_logits_come_back_in_the_order_of_the_pairs(tmp_path):
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = Tokenizer(WordLevel({"[UNK]": 0, "[PAD]": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    digest = sha256((tmp_path / "tokenizer.json").read_bytes()).hexdigest()
    manifest = {"weights": "tokenizer.json", "tokenizer": "tokenizer.json", "longest": 12, "sha256": {"tokenizer.json": digest}}
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    encoder = Encoder(tmp_path)
    encoder.__dict__["_session"] = Session()
    pairs = [("word " * n, "claim") for n in range(30, 0, -1)]
    assert encoder.logits(pairs).tolist() == [min(n + 1, 12) for n in range(30, 0, -1)]
    assert encoder.logits([]).shape == (0,)


def test_features_are_named_once():
    assert len(set(NAMES)) == len(NAMES)


def test_code_is_compared_as_it_stands(embedder):
    code = "Switch off units:\n\n```python\nmask = rand(n) < keep\n```"
    against = TrainedVerifier(embedder, Reader(), calibration=CALIBRATION).against([passage(code, 1)], "")
    assert against.check("```python\nmask = rand(n) < keep\n```").citations
    assert not against.check("```python\nimport os\nos.remove(path)\n```").citations
