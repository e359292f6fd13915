"""The benchmarks on collections of a few lines, without weights."""

import csv
import json
import math
import sys

import numpy as np
import pytest
from fake_model import FakeChatModel
from typer import Typer
from typer.testing import CliRunner

from assistant.chain import CourseChain
from assistant.history import History, TurnRecord, now
from assistant.runtime import Runtime
from assistant.settings import Settings
from course_guard.grounding import OverlapVerifier
from evals.bench import embedders, evidence, retrieval, speed
from knowledge.chunking import chunk
from knowledge.errors import CourseError
from knowledge.evidence import EvidencePlanner
from knowledge.ingest import ingest
from knowledge.loaders.load import load
from knowledge.retrieval import CourseRetriever
from knowledge.settings import ChunkingSettings, EvidenceSettings, RetrievalSettings

ir_measures = pytest.importorskip("ir_measures")

ABSTRACTS = """<doc><docno>1</docno><title>shear flow
past a plate .</title><author>li</author><text>shear flow past a plate .
  viscous flow was computed .</text></doc>
<doc><docno>2</docno><title>heat in slabs</title><author></author><text>conduction through composite layers .</text></doc>
<doc><docno>3</docno><title></title><author></author><text></text></doc>
"""
QUERIES = """<xml><top><num> 1</num><title>
how is heat conducted in composite
slabs .</title></top>
<top><num> 4</num><title>viscous shear flow</title></top></xml>
"""


@pytest.fixture
def data(tmp_path):
    """Both collections, each two questions; the second corpus repeats a paragraph."""
    cranfield, chunking = tmp_path / "cranfield", tmp_path / "chunking_eval"
    cranfield.mkdir()
    chunking.mkdir()
    (cranfield / "cran.all.1400.xml").write_text(ABSTRACTS, encoding="utf-8")
    (cranfield / "cran.qry.xml").write_text(QUERIES, encoding="utf-8")
    (cranfield / "cranqrel.trec.txt").write_text("1 0 2 1\n1 0 1 0\n2 0 1 3\n", encoding="utf-8")
    corpora = {
        "stars": "Stars fuse hydrogen into helium.\n\nPlanets orbit their stars on ellipses.\n",
        "money": "Bonds pay interest every year.\n\nShares pay dividends instead.\n\nBonds pay interest every year.\n",
    }
    rows = []
    for name, text in corpora.items():
        (chunking / f"{name}.md").write_text(text, encoding="utf-8")
        content = text.split("\n")[0]
        rows.append(
            {
                "question": f"What about {content.split()[0]}?",
                "references": json.dumps([{"content": content}]),
                "corpus_id": name,
            }
        )
    with (chunking / "questions_df.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ["question", "references", "corpus_id"])
        table.writeheader()
        table.writerows(rows)
    return tmp_path


def cut(tmp_path, embedder, text, passage_tokens=40):
    path = tmp_path / "corpus.md"
    path.write_text(text, encoding="utf-8")
    document = load(path, "corpus")
    return document, chunk(document, embedder.count_tokens, ChunkingSettings(passage_tokens=passage_tokens))[1]


def test_cranfield_judgements_belong_to_positions_not_to_numbers(data):
    found = retrieval.read_cranfield(data / "cranfield")
    assert found.questions == {"1": "how is heat conducted in composite slabs .", "2": "viscous shear flow"}
    assert found.relevant == {"1": {"2": 1, "1": 0}, "2": {"1": 3}}


def test_cranfield_titles_stand_once_and_empty_abstracts_nowhere(data):
    assert retrieval.read_cranfield(data / "cranfield").texts == {
        "1": "shear flow past a plate . viscous flow was computed .",
        "2": "heat in slabs\nconduction through composite layers .",
    }


def test_missing_file_is_named_with_its_source(data):
    (data / "cranfield" / "cran.qry.xml").unlink()
    with pytest.raises(CourseError, match=r"cran\.qry\.xml is missing.*oussbenk"):
        retrieval.read_cranfield(data / "cranfield")


def test_missing_corpus_is_named_with_its_source(data, embedder):
    (data / "chunking_eval" / "stars.md").unlink()
    with pytest.raises(CourseError, match=r"stars\.md is missing.*brandonstarxel"):
        retrieval.read_chunking(data / "chunking_eval", embedder, ChunkingSettings())


def test_chunking_set_is_cut_by_corpus(data, embedder):
    money, stars = retrieval.read_chunking(data / "chunking_eval", embedder, ChunkingSettings())
    assert (money.name, stars.name) == ("money", "stars")
    assert list(stars.questions.values()) == ["What about Stars?"]
    assert list(money.relevant.values()) == [dict.fromkeys(money.texts, 1)]  # a corpus of three lines is one passage


def test_every_copy_of_the_gold_text_counts(tmp_path, embedder):
    gold = "Bonds pay interest every year."
    fillers = [" ".join(f"{stem}{i:02}" for i in range(30)) + "." for stem in ("Aa", "Bb", "Cc")]
    document, passages = cut(tmp_path, embedder, f"{gold} {fillers[0]}\n\n{fillers[1]}\n\n{gold} {fillers[2]}\n")
    found = retrieval.with_gold("money", document, passages, {"q": "What do bonds pay?"}, {"q": [gold]})
    assert found.relevant == {"q": {p.id: 1 for p in passages if "Bonds" in p.text}}
    assert len(found.relevant["q"]) == 2 < len(passages)


def test_passages_with_the_same_text_are_one(tmp_path, embedder):
    paragraph = (
        "Bonds pay interest every year, and at the end of their term the issuer pays the whole sum back to their holder."
    )
    other = "Shares pay dividends instead, whenever the firm has earned enough and its owners agree at their yearly meeting."
    document, passages = cut(tmp_path, embedder, f"{paragraph}\n\n{other}\n\n{paragraph}\n")
    assert len(passages) == 3
    found = retrieval.with_gold("money", document, passages, {"q": "What do bonds pay?"}, {"q": [paragraph]})
    assert len(found.texts) == 2
    assert found.relevant == {"q": {passages[0].id: 1}}


def test_gold_text_that_is_not_in_the_corpus_is_an_error(tmp_path, embedder):
    document, passages = cut(tmp_path, embedder, "Bonds pay interest.")
    with pytest.raises(ValueError, match="Shares"):
        retrieval.with_gold("money", document, passages, {"q": "?"}, {"q": ["Shares pay dividends."]})


def test_gold_share_counts_characters_of_all_spans_found_by_any_passage(tmp_path, embedder):
    words = [" ".join(f"{stem}{i:02}" for i in range(35)) + "." for stem in ("Aa", "Bb", "Cc")]
    document, passages = cut(tmp_path, embedder, "\n\n".join(words))
    assert len(passages) == 3
    gold = ["Aa34.\n\nBb00", "Cc00"]  # 9 characters without white space, in two passages, and 4 in a third
    found = retrieval.with_gold("c", document, passages, {"q": "?"}, {"q": gold})
    first, second, third = (p.id for p in passages)
    assert found.gold_size == {"q": 13}
    assert found.relevant["q"].keys() == {first, second, third}
    scores = retrieval.score(found, {"q": [third, "unknown", first]})
    assert scores["gold share in top 5"]["q"] == pytest.approx(9 / 13)
    assert scores["all gold in top 5"]["q"] == 0
    assert retrieval.score(found, {"q": [third, second, first]})["all gold in top 5"]["q"] == 1
    late = retrieval.score(found, {"q": [third, *"wxyz", second, first]})
    assert late["gold share in top 5"]["q"] == pytest.approx(4 / 13)


def test_scores_follow_the_order_of_the_ranking_and_nothing_found_is_zero():
    asked = retrieval.Collection("toy", {}, {"1": "?", "2": "?"}, {"1": {"z": 1}, "2": {"z": 1}})
    scores = retrieval.score(asked, {"1": ["a", "z", "b"], "2": []})
    assert scores["nDCG@10"] == {"1": pytest.approx(1 / math.log2(3)), "2": 0}
    assert scores["R@10"] == {"1": 1, "2": 0}


def test_scores_keep_the_order_of_questions_so_that_systems_are_compared_in_pairs(monkeypatch):
    calc = ir_measures.iter_calc
    monkeypatch.setattr(ir_measures, "iter_calc", lambda *args: reversed(list(calc(*args))))
    asked = retrieval.Collection("toy", {}, {"1": "?", "2": "?"}, {"1": {"z": 1}, "2": {"z": 1}})
    for values in retrieval.score(asked, {"1": ["z"], "2": ["a"]}).values():
        assert list(values.items()) == [("1", 1), ("2", 0)]


def test_ranking_asks_both_searches_and_fuses_them(embedder):
    texts = {"light": "Leaves reflect green light", "water": "Reactions split water", "ship": "Ships float on water"}
    asked = retrieval.Collection(
        "toy", texts, {"q": "Which reactions split water?", "x": "Xylophone?"}, {"q": {"water": 1}, "x": {}}
    )
    found = retrieval.rank(asked, embedder, RetrievalSettings())
    assert found["BM25"] == {"q": ["water", "ship"], "x": []}
    assert found["dense"]["q"][:2] == ["water", "ship"]
    assert found["fused"]["q"] == ["water", "ship", "light"]


def test_interval_is_seeded_and_holds_the_mean():
    differences = np.random.default_rng(1).normal(0.1, 0.5, 60)
    low, high = retrieval.interval(differences, 0)
    assert low < differences.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * differences.std() / math.sqrt(60), rel=0.1)
    assert retrieval.interval(differences, 0) == (low, high) != retrieval.interval(differences, 1)


def test_the_retrieval_command_prints_every_corpus_and_the_whole(data, embedder, monkeypatch):
    monkeypatch.setattr(retrieval, "model_path", lambda name: None)
    monkeypatch.setattr(retrieval, "SentenceEmbedder", lambda folder: embedder)
    app = Typer()
    app.command()(retrieval.main)
    result = CliRunner().invoke(app, ["--data", str(data), "--limit", "1"])
    assert result.exit_code == 0, result.output
    for heading in ("cranfield, n = 1", "money, n = 1", "stars, n = 1", "all corpora, n = 2"):
        assert heading in result.stdout
    assert "money" not in CliRunner().invoke(app, ["--data", str(data), "--collection", "cranfield"]).stdout


def test_gold_share_counts_letters_and_takes_any_copy():
    text = "Bonds pay. Shares do not. Bonds pay."
    assert evidence.gold_share(text, ["Bonds pay."], [(0, 36)]) == 1
    assert evidence.gold_share(text, ["Bonds pay."], [(26, 36)]) == 1
    assert evidence.gold_share(text, ["Bonds pay."], [(0, 5)]) == pytest.approx(5 / 9)
    assert evidence.gold_share(text, ["Bonds pay."], [(0, 5), (26, 31)]) == pytest.approx(5 / 9)  # the same five twice
    assert evidence.gold_share(text, ["Bonds pay.", "Shares do not."], [(11, 25)]) == pytest.approx(12 / 21)
    assert evidence.gold_share(text, ["Bonds pay."], []) == 0
    with pytest.raises(ValueError, match="Loans"):
        evidence.gold_share(text, ["Loans"], [(0, 36)])


def test_every_question_is_planned_and_its_gold_found(data, index, embedder):
    money, _ = retrieval.read_corpora(data / "chunking_eval")
    ingest(index, [money.path])
    (one,) = evidence.measure(money, index, len, RetrievalSettings(), EvidenceSettings())
    assert (one.question, one.extra_tokens) == ("What about Bonds?", 0)
    assert one.shares == dict.fromkeys(evidence._WAYS, 1)
    assert one.tokens["section"] == len(money.path.read_text().strip())
    assert one.tokens["pruned"] < one.tokens["section"]


def test_the_evidence_command_prints_both_halves(data, embedder, monkeypatch):
    monkeypatch.setattr(evidence, "model_path", lambda name: None)
    monkeypatch.setattr(evidence, "SentenceEmbedder", lambda folder: embedder)
    monkeypatch.setattr(evidence, "token_counter", lambda path: len)
    app = Typer()
    app.command()(evidence.main)
    result = CliRunner().invoke(app, ["--data", str(data)])
    assert result.exit_code == 0, result.output
    assert "both, n = 2" in result.stdout
    row = next(line for line in result.stdout.splitlines() if line.startswith("section and extras"))
    assert row.endswith("1.000 / 1.000")


def test_halves_are_fixed_by_the_question():
    measured = [evidence.Measured(f"Question {n}?", {}, {}, 0, 0.0) for n in range(200)]
    assert [m.development for m in measured[:4]] == [True, False, True, True]
    assert 80 < sum(m.development for m in measured) < 120


@pytest.fixture
def ready(ingested, embedder, tmp_path):
    """A runtime whose model knows one sentence; the threshold is one that the bag of words passes for a covered question."""
    settings = Settings(data_dir=tmp_path)
    history = History(settings.history_file)
    model = FakeChatModel(replies=["Kepler's first law says that every planet moves on an ellipse with the Sun in one focus."])
    retriever = CourseRetriever(index=ingested, settings=RetrievalSettings(threshold=0.2), k=2)
    planner = EvidencePlanner(ingested)
    chain = CourseChain(retriever, planner, model, OverlapVerifier(embedder), history, model_name="fake")
    return Runtime(settings, ingested, history, chain, None)


def test_answer_times_are_one_a_question_and_leave_only_the_readers_own_turns(ready, monkeypatch):
    monkeypatch.setattr(speed, "warm", lambda ready: None)
    ready.history.add(TurnRecord("mine", "chat", now(), "What?", "What?", "That.", None, {}))
    figures = speed.answer_times(
        ready, ["What does Kepler's first law say about every planet?", "Who won the football championship?"]
    )
    assert {name: len(values) for name, values in figures.items()} == {
        "evidence_ms": 2, "total_ms": 2,
        "first_token_ms": 1, "first_sentence_ms": 1, "tokens_per_s": 1, "prompt_tokens": 1, "completion_tokens": 1,
    }  # fmt: skip
    assert figures["prompt_tokens"] == [100]
    assert [turn.id for turn in ready.history.turns()] == ["mine"]


def test_answer_times_leave_nothing_after_a_failure(ready, monkeypatch):
    monkeypatch.setattr(speed, "warm", lambda ready: None)
    broken = FakeChatModel(replies=[RuntimeError("out of memory")])
    ready.chain = ready.chain.with_model(broken, "broken", EvidencePlanner(ready.index))
    with pytest.raises(RuntimeError, match="out of memory"):
        speed.answer_times(ready, ["What does Kepler's first law say about every planet?"])
    assert ready.history.turns() == []


def test_ingest_rates_are_of_different_lessons(embedder, course_dir, monkeypatch):
    parts = []

    def ingest(index, part):
        parts.append(part)
        return real(index, part)

    real = speed.ingest
    monkeypatch.setattr(speed, "ingest", ingest)
    monkeypatch.setattr(speed, "STARTER_COURSE", course_dir)
    monkeypatch.setattr(speed, "_LESSONS", 2)
    rates = speed.ingest_rates(embedder, repeats=3, seed=0)
    assert [len(part) for part in parts] == [2, 1]
    assert len({lesson for part in parts for lesson in part}) == 3
    assert len(rates) == 2
    assert all(rate > 0 for rate in rates)


def test_cold_starts_are_timed_in_processes_of_their_own(monkeypatch):
    monkeypatch.setattr(speed, "model_path", lambda name: name)
    monkeypatch.setattr(speed, "_COLD", {"nap": "time.sleep(0.2)", "model": "print(sys.argv[2])"})
    times = speed.cold_starts(Settings(), repeats=2)
    assert [len(values) for values in times.values()] == [2, 2]
    assert min(times["nap"]) >= 0.2 > max(times["model"])


def test_speed_of_an_empty_index_says_what_to_do(index, monkeypatch):
    monkeypatch.setattr(speed, "build", lambda settings: Runtime(settings, index, None, None, None))
    with pytest.raises(CourseError, match="lectern ingest --starter"):
        speed.main()


def test_speed_prints_medians(capsys):
    turns = dict.fromkeys(speed._TURN, [20.0]) | {"first_token_ms": [10000.0, 30000.0, 20000.0], "first_sentence_ms": []}
    speed.show(speed.Figures("a machine", "a model", (0.5, 1.0), turns, {"chat model": [2.0, 2.0]}, [30.0]))
    lines = {line[:36].strip(): line[36:].strip() for line in capsys.readouterr().out.splitlines()}
    assert lines["evidence"] == "20 ms (n = 1)"
    assert lines["first token"].startswith("20 s (")
    assert lines["first sentence"] == "none"
    assert lines["chat model"].startswith("2 s (")


def test_export_without_its_packages_names_the_pip_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(CourseError, match="pip install onnx onnxscript"):
        embedders.export(tmp_path, tmp_path)
