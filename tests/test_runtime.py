import pytest
from fake_model import FakeReader
from toy_index import toy_index

from assistant import runtime as module
from assistant.course import open_index
from assistant.prompts import SYSTEM
from assistant.runtime import Runtime, build, chat_models_here, warm
from assistant.settings import Settings
from assistant.warming import Warmer
from knowledge.catalogue import SourceInfo
from knowledge.errors import CourseError, MissingModel
from knowledge.index import CourseIndex


class Index:
    def __init__(self, *titles):
        self.titles = titles

    def sources(self):
        return [SourceInfo(str(n), str(n), title, 1, 1, "") for n, title in enumerate(self.titles)]


def starters(*titles):
    return Runtime(Settings(), Index(*titles), None, None, None).starters()


def test_starters_are_spread_over_the_course():
    titles = [f"Topic {n}" for n in range(12)]
    assert starters(*titles) == [f"What should I know about topic {n}?" for n in (0, 3, 6, 9)]
    assert starters() == []
    assert len(starters("One", "Two", "One")) == 2


def test_names_keep_their_capitals():
    assert starters("BERT", "LoRA and adapters", "What is a model?", "Word embeddings") == [
        "What should I know about BERT?",
        "What should I know about LoRA and adapters?",
        "What is a model?",
        "What should I know about word embeddings?",
    ]


class Chain:
    """Remembers what it was given."""

    def __init__(self, *given):
        self.given = given

    def with_model(self, *given):
        return Chain(*given)


@pytest.mark.parametrize("reads_ahead", [True, False])
def test_another_model_is_chosen_once_its_weights_are_found(monkeypatch, tmp_path, reads_ahead):
    first, other = FakeReader(tmp_path / "first", slow=True), FakeReader(tmp_path / "other")
    other.count_tokens = len
    ready = Runtime(Settings(), toy_index(), None, Chain(), Warmer(first, toy_index()))
    if reads_ahead:
        ready.read_ahead()
    before = ready.warmer
    with pytest.raises(MissingModel):
        ready.choose_model("smollm2-135m-instruct")
    assert (ready.chain.given, ready.warmer) == ((), before)
    monkeypatch.setattr(module, "make_model", lambda settings, name, adapter: other)
    ready.choose_model("smollm2-135m-instruct")
    model, name, planner, sections = ready.chain.given
    assert (model, name, sections) == (other, "smollm2-135m-instruct", ready.warmer)
    assert planner._count_tokens is len, "another model's tokens are counted with another model"
    assert ready.models()[0] == ready.settings.model.name == "smollm2-135m-instruct"
    assert not first.read
    chain = ready.chain
    ready.choose_model("smollm2-135m-instruct")
    assert ready.chain is chain
    assert ready.warmer.stop() == reads_ahead


def test_without_weights_there_is_no_runtime():
    assert chat_models_here() == []
    with pytest.raises(MissingModel, match="all-minilm"):
        build(Settings())


def test_warming_opens_everything_that_a_question_needs(ingested, monkeypatch):
    class Model:
        def invoke(self, messages, max_tokens):
            assert messages[0].content[0]["text"] == SYSTEM  # what every prompt begins with stays in the cache
            assert max_tokens == 1
            opened.append("model")

    def noting(name):
        original = getattr(CourseIndex, name)

        def noted(*args, **options):
            opened.append(name)
            return original(*args, **options)

        return noted

    opened = []
    monkeypatch.setattr(module, "make_model", lambda settings, name, adapter: Model())
    for name in ("dense", "lexical"):
        monkeypatch.setattr(CourseIndex, name, noting(name))

    class Chain:
        def warm_guards(self):
            opened.append("guards")

    warm(Runtime(Settings(), ingested, None, Chain(), None))
    assert sorted(opened) == ["dense", "guards", "lexical", "model"]


@pytest.mark.parametrize("harm", ["no folder", "garbage"])
def test_an_index_that_cannot_be_opened_is_a_course_error(tmp_path, monkeypatch, embedder, harm):
    monkeypatch.setattr("assistant.embedders.model_path", lambda name: tmp_path)
    monkeypatch.setattr("assistant.course.SentenceEmbedder", lambda folder: embedder)
    folder = tmp_path / "data"
    if harm == "no folder":
        folder.write_text("a file")
    else:
        (folder / "index").mkdir(parents=True)
        (folder / "index" / "catalogue.sqlite").write_text("no database" * 100)
    with pytest.raises(CourseError, match="cannot be opened"):
        open_index(Settings(data_dir=folder))
