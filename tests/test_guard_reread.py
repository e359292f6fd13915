"""The chat model reads again what overlap supports."""

import math
from typing import Any

import pytest
from conftest import BagOfWordsEmbedder
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from course_guard.grounding import Support
from course_guard.settings import GroundingSettings
from course_guard.support.reread import RereadVerifier
from course_guard.verifier import make_verifier
from knowledge.errors import CourseError
from knowledge.passage import Citation, Passage

TEXT = "A net learns by descent. The forward difference has an error of order h. The central one has order h²."
PASSAGE = Passage("p", "", "", "", "", (), None, None, 0, len(TEXT), TEXT, 0)
START = TEXT.index("The forward")
CITED = Citation(1, PASSAGE, TEXT[START : TEXT.index(" The central")], START, TEXT.index(" The central"))
SWAPPED = "The forward difference has an error of order h², and the central one has order h."


class Reader(BaseChatModel):
    """Says Yes with a given probability, and remembers what it was asked."""

    yes: float = 0.5
    tells: bool = True
    asked: list[list[BaseMessage]] = []

    @property
    def _llm_type(self) -> str:
        return "reader"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **given: Any,
    ) -> ChatResult:
        assert given["max_tokens"] == 1 and given["logprobs"] is True
        self.asked.append(messages)
        likely = [(" Yes", self.yes / 2), ("yes", self.yes / 2), ("No", 0.9 - self.yes), ("The", 0.1)]
        told = [{"token": token, "logprob": math.log(chance)} for token, chance in likely if chance > 0]
        content = [{"token": "Yes", "logprob": told[0]["logprob"], "top_logprobs": told}] if told else []
        metadata: dict[str, Any] = {"logprobs": {"content": content}} if self.tells else {}
        message = AIMessage("Yes" if self.yes > 0.45 else "No", response_metadata=metadata)
        return ChatResult(generations=[ChatGeneration(message=message)])


class Overlap:
    """What overlap has found, the same for every sentence."""

    def __init__(self, found: Support) -> None:
        self._found = found

    def against(self, passages: object, question: str) -> "Overlap":
        return self

    def check(self, sentence: str) -> Support:
        return self._found


FOUND = Support(0.8, (CITED,))


def check(sentence: str, model: Reader, found: Support = FOUND, threshold: float | None = None) -> Support:
    verifier = RereadVerifier(BagOfWordsEmbedder(), model, GroundingSettings(threshold=threshold))
    verifier._overlap = Overlap(found)
    return verifier.against([PASSAGE], "How large is the error?").check(sentence)


def test_what_the_model_denies_is_not_supported() -> None:
    support = check(SWAPPED, Reader(yes=0.2, asked=[]))
    assert not support.citations
    assert "Read again" in support.reason
    assert support.probability == pytest.approx(1 / (1 + math.exp(-0.3 - math.log(0.2 / 0.7))))


def test_what_the_model_confirms_keeps_its_citations() -> None:
    assert check(SWAPPED, Reader(yes=0.7, asked=[])).citations == (CITED,)


def test_what_overlap_doubts_needs_a_surer_yes() -> None:
    doubtful = Support(0.55, (CITED,))
    nearly, surely = Reader(yes=0.5, asked=[]), Reader(yes=0.7, asked=[])
    assert not check(SWAPPED, nearly, doubtful).citations
    assert check(SWAPPED, nearly).citations
    assert check(SWAPPED, surely, doubtful).citations
    assert check(SWAPPED, nearly, doubtful, threshold=0.5).citations


def test_overlap_is_asked_from_a_half_on() -> None:
    text = "Bees dance in the dark hive to tell the others where flowers are."
    passage = Passage("b", "", "", "", "", (), None, None, 0, len(text), text, 0)
    model = Reader(yes=0.8, asked=[])
    verifier = RereadVerifier(BagOfWordsEmbedder(), model)
    checker = verifier.against([passage], "")
    assert not checker.check("Whales sing under the ice for hours.").citations
    assert not model.asked
    assert checker.check("In the dark hive bees dance for the others.").citations
    assert len(model.asked) == 1


def test_the_margin_adds_up_all_ways_of_writing_the_answer() -> None:
    verifier = RereadVerifier(BagOfWordsEmbedder(), Reader(yes=0.6, asked=[]))
    assert verifier.margin(TEXT, SWAPPED) == pytest.approx(math.log(0.6 / 0.3))


def test_it_reads_the_cited_sentence_with_its_neighbours_and_the_claim_last() -> None:
    model = Reader(yes=0.7, asked=[])
    check(SWAPPED, model)
    (messages,) = model.asked
    assert messages[-1].text.startswith(f"Text: {TEXT}\n\nStatement: {SWAPPED}")
    keyed = [block for message in messages if isinstance(message.content, list) for block in message.content]
    assert [block["cache_key"] for block in keyed if isinstance(block, dict)] == ["reread:1"]
    assert messages[-2].text == "No", "the state that is kept ends with the last example"


@pytest.mark.parametrize("sentence", [CITED.quote, "The forward difference has an error of order h"])
def test_a_copy_is_not_asked_about(sentence: str) -> None:
    model = Reader(yes=0.0, asked=[])
    assert check(sentence, model).citations
    assert not model.asked


@pytest.mark.parametrize(("yes", "stands"), [(0.8, True), (0.1, False)])
def test_a_model_that_tells_no_probabilities_is_taken_at_its_word(yes: float, stands: bool) -> None:
    assert bool(check(SWAPPED, Reader(yes=yes, tells=False, asked=[])).citations) is stands


def test_an_answer_that_is_not_among_the_likely_ones_counts_as_very_unlikely() -> None:
    assert RereadVerifier(BagOfWordsEmbedder(), Reader(yes=0.9, asked=[])).margin(TEXT, SWAPPED) > 10


def test_the_settings_name_it_and_it_needs_a_chat_model(embedder: Any) -> None:
    settings = GroundingSettings(verifier="reread")
    assert isinstance(make_verifier(settings, embedder, None, Reader()), RereadVerifier)
    with pytest.raises(CourseError):
        make_verifier(settings, embedder)
