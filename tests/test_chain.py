import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from fake_model import FakeChatModel
from toy_index import toy_index

from assistant.answer import collect
from assistant.chain import CourseChain
from assistant.events import Done, Dropped, Evidence, Sentence, Turn
from assistant.history import History
from assistant.settings import AnswerSettings
from course_guard.grounding import OverlapVerifier
from knowledge.evidence import EvidencePlanner
from knowledge.retrieval import CourseRetriever

CALVIN = "What does the Calvin cycle spend?"
SPENDS = "The Calvin cycle spends 3 ATP and 2 NADPH per molecule of carbon dioxide."
FIXES = "The Calvin cycle fixes carbon dioxide with the enzyme rubisco."
INVENTED = "It was discovered by three Belgian monks in 1850."


class Assistant:
    """A chain over the toy course with a fake model."""

    def __init__(self, index, folder):
        self.index, self.history = index, History(folder / "history.sqlite")
        self.model = FakeChatModel(replies=["Nothing."])

    def chain(self, *replies, pace=0.0, model_name="fake", **sizes):
        self.model = FakeChatModel(replies=list(replies), pace=pace)
        retriever, planner = CourseRetriever(index=self.index, k=20), EvidencePlanner(self.index)
        verifier = OverlapVerifier(self.index.embedder, stored=self.index.sentences)
        return CourseChain(retriever, planner, self.model, verifier, self.history, AnswerSettings(**sizes), model_name)

    def events(self, *replies, turn=None, **options):
        return list(self.chain(*replies, **options).stream(turn or Turn(CALVIN)))

    def answer(self, *replies, turn=None, **options):
        turn = turn or Turn(CALVIN)
        return collect(turn, self.events(*replies, turn=turn, **options))


@pytest.fixture
def assistant(tmp_path):
    return Assistant(toy_index(), tmp_path)


def kinds(events):
    return [type(event) for event in events]


def wait_until(condition, seconds=1.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.01)


# The order of events


def test_evidence_comes_first_and_done_last(assistant):
    events = assistant.events(f"{SPENDS} {INVENTED} {FIXES}")
    assert kinds(events) == [Evidence, Sentence, Dropped, Sentence, Done]
    assert events[-1].answer == f"{SPENDS} {FIXES}"
    assert not events[-1].stopped


def test_a_question_outside_the_course_is_refused_without_asking_the_model(assistant):
    evidence, refusal, done = assistant.events("Stir well.", turn=Turn("How do I cook mushroom risotto?"))
    assert evidence.passages == ()
    assert (refusal.rule, len(refusal.suggestions)) == ("not_covered", 3)
    assert "Bayes' theorem: Base rates" in refusal.suggestions
    assert (done.answer, done.timings["first_sentence_ms"], done.timings["tokens_per_s"]) == ("", None, None)
    assert assistant.model.prompts == []


def test_a_turn_that_was_stopped_before_it_began_still_ends_in_done(assistant):
    turn = Turn(CALVIN)
    turn.stop.set()
    events = assistant.events(SPENDS, turn=turn)
    assert kinds(events) == [Evidence, Done]
    assert events[-1].stopped


def test_stopping_keeps_what_was_checked_and_drops_the_unfinished_sentence(assistant):
    turn = Turn(CALVIN)
    events = []
    for event in assistant.chain(f"{SPENDS} {FIXES} " * 20, pace=0.001).stream(turn):
        events.append(event)
        if isinstance(event, Sentence):
            turn.stop.set()
    assert kinds(events) == [Evidence, Sentence, Done]
    assert (events[-1].answer, events[-1].stopped) == (SPENDS, True)


def test_a_closed_iterator_stops_the_model_and_keeps_the_turn(assistant):
    stream = assistant.chain(f"{SPENDS} {FIXES}", pace=0.001).stream(Turn(CALVIN))
    assert kinds([next(stream), next(stream)]) == [Evidence, Sentence]
    stream.close()
    assert assistant.model.running == 0
    (kept,) = assistant.history.turns()
    assert (kept.answer, kept.record["stopped"]) == (SPENDS, True)


def test_an_error_of_the_model_comes_after_done(assistant):
    stream = assistant.chain(ValueError("out of memory")).stream(Turn(CALVIN))
    events = [next(stream), next(stream)]
    assert kinds(events) == [Evidence, Done]
    assert events[-1].stopped
    with pytest.raises(ValueError, match="out of memory"):
        next(stream)
    assert assistant.history.turns()[0].record["error"] == "ValueError: out of memory"


def test_an_error_of_the_search_comes_after_done_too(assistant, monkeypatch):
    monkeypatch.setattr(CourseRetriever, "retrieve", lambda *_: 1 / 0)
    stream = assistant.chain(SPENDS).stream(Turn(CALVIN))
    assert isinstance(next(stream), Done)
    with pytest.raises(ZeroDivisionError):
        next(stream)


# What is shown


def test_every_shown_sentence_has_a_citation_that_stands_in_the_document(assistant):
    answer = assistant.answer(f"{SPENDS} {INVENTED}\n\n- {FIXES}\n- Light is reflected. Chlorophyll absorbs blue light.")
    assert len(answer.sentences) >= 2
    for sentence in answer.sentences:
        assert sentence.citations
        assert 0.62 <= sentence.support <= 1.0
        for citation in sentence.citations:
            assert answer.evidence.passages[citation.number - 1].passage == citation.passage
            document = assistant.index.document(citation.passage.document_id)
            assert document.text[citation.start : citation.end] == citation.quote
    assert INVENTED not in answer.text
    assert "\n\n- The Calvin" in answer.text


def test_the_model_s_own_citations_are_not_shown(assistant):
    answer = assistant.answer(SPENDS.replace(".", " [2]."))
    assert answer.text == SPENDS


def test_nothing_supported_is_a_refusal(assistant):
    answer = assistant.answer(f"{INVENTED} The Eiffel Tower stands in Paris.")
    assert (answer.text, answer.done.answer, len(answer.dropped)) == ("", "", 2)
    assert answer.refusal.rule == "unsupported"
    assert "Photosynthesis: Calvin cycle" in answer.refusal.suggestions


@pytest.mark.parametrize("reply", ["", "  \n\n", "[1]"])
def test_an_empty_reply_is_a_refusal(assistant, reply):
    answer = assistant.answer(reply)
    assert (answer.refusal.rule, answer.dropped) == ("unsupported", [])


def test_the_model_may_say_that_the_course_does_not_cover_it(assistant):
    answer = assistant.answer("The passages do not mention the monks of Belgium.")
    assert (answer.refusal.rule, answer.text) == ("not_covered", "")
    assert answer.refusal.suggestions[0] == "Photosynthesis: Calvin cycle"


def test_after_an_answer_that_remark_only_ends_it(assistant):
    answer = assistant.answer(f"{SPENDS} The passages do not mention more. {FIXES}")
    assert (answer.text, answer.refusal, answer.dropped) == (SPENDS, None, [])


def test_a_repeated_sentence_ends_the_answer(assistant):
    answer = assistant.answer(f"{SPENDS} {FIXES} " * 50, pace=0.0001)
    assert answer.text == f"{SPENDS} {FIXES}"
    assert assistant.model.running == 0
    assert 40 < answer.done.completion_tokens < 100
    assert answer.done.timings["tokens_per_s"] > 0


def test_an_unfinished_last_sentence_is_not_shown(assistant):
    answer = assistant.answer(f"{SPENDS} {FIXES}", max_tokens=32)
    assert assistant.model.limits == [32]
    assert (answer.text, answer.done.stopped) == (SPENDS, False)
    (cut,) = answer.dropped
    assert FIXES.startswith(cut.text)
    assert "token" in cut.reason


def test_the_reader_sets_the_sizes(assistant):
    answer = assistant.answer(SPENDS, turn=Turn(CALVIN, sources=1, max_tokens=50))
    assert [item.score > 0 for item in answer.evidence.passages] == [True, False, False]
    assert assistant.model.limits == [50]


def test_a_follow_up_is_searched_for_with_its_question_and_asked_as_it_is(assistant):
    first = assistant.answer(FIXES, turn=Turn("What is the Calvin cycle?")).done.exchange
    answer = assistant.answer(SPENDS, turn=Turn("And what does it spend?", earlier=(first,)))
    assert answer.evidence.standalone == "What is the Calvin cycle? And what does it spend?"
    assert answer.evidence.passages[0].passage.heading[-1] == "Calvin cycle"
    assert [prompt[-1].content for prompt in assistant.model.prompts] == ["And what does it spend?"]
    assert answer.as_json()["question"] == "And what does it spend?"
    assert answer.as_json()["standalone"] == answer.evidence.standalone


# The record


def test_the_history_holds_what_was_shown(assistant):
    chain = assistant.chain(f"{SPENDS} {INVENTED}", model_name="fake-1b")
    answer = chain.invoke(Turn(CALVIN, conversation="c1"))
    (kept,) = assistant.history.turns()
    assert (kept.id, kept.conversation, kept.question) == (answer.done.turn_id, "c1", CALVIN)
    assert (kept.answer, kept.refused) == (SPENDS, None)
    shown = json.loads(json.dumps(answer.as_json()))
    assert {key: kept.record[key] for key in shown} == shown
    versions = kept.record["versions"]
    assert versions["embedder"] == "bag-of-words:256"
    assert versions["index"] == assistant.index.catalogue.generation
    assert versions["settings"]["max_tokens"] == 220


def test_a_refusal_is_kept_with_its_rule(assistant):
    assistant.events(INVENTED)
    assert [(turn.refused, turn.answer) for turn in assistant.history.turns()] == [("unsupported", "")]


def test_feedback_belongs_to_the_turn_of_done(assistant):
    first, second = (assistant.answer(SPENDS).done.turn_id for _ in range(2))
    assistant.history.rate(first, 1, "good")
    assert {turn.id: turn.comment for turn in assistant.history.turns()} == {first: "good", second: None}


def test_the_json_object(assistant):
    data = json.loads(json.dumps(assistant.answer(f"{SPENDS} {INVENTED}", pace=0.0001, model_name="fake-1b").as_json()))
    wanted = ["question", "standalone", "answer", "sentences", "evidence", "refused", "reason", "model", "timings"]
    assert set(wanted) <= set(data)
    assert (data["question"], data["standalone"], data["answer"], data["model"]) == (CALVIN, CALVIN, SPENDS, "fake-1b")
    (sentence,) = data["sentences"]
    assert set(sentence) == {"text", "support", "citations"}
    (citation,) = sentence["citations"]
    assert set(citation) >= {"document", "heading", "page", "quote"}
    assert (citation["document"], citation["heading"]) == ("Photosynthesis", "Photosynthesis > Calvin cycle")
    assert citation["quote"] == "It spends 3 ATP and 2 NADPH per molecule of carbon dioxide."
    assert [item["heading"] for item in data["evidence"]][0] == "Photosynthesis > Calvin cycle"
    assert len(data["evidence"]) == 3
    assert data["cold"] is False
    assert (data["refused"], data["reason"]) == (False, None)
    timings = data["timings"]
    assert 0 <= timings["evidence_ms"] <= timings["first_sentence_ms"] <= timings["total_ms"]
    assert timings["tokens_per_s"] > 0


def test_the_json_object_of_a_refusal(assistant):
    data = assistant.answer(INVENTED).as_json()
    assert (data["refused"], data["rule"], data["sentences"], data["answer"]) == (True, "unsupported", [], "")
    assert data["reason"]


def test_another_model_shares_everything_else(assistant):
    chain = assistant.chain(SPENDS)
    other = chain.with_model(FakeChatModel(replies=[FIXES]), "other")
    assert (other.retriever, other.planner) == (chain.retriever, chain.planner)
    assert [c.invoke(Turn(CALVIN)).text for c in (chain, other)] == [SPENDS, FIXES]
    assert sorted(turn.record["model"] for turn in assistant.history.turns()) == ["fake", "other"]


# Many readers


def subject(messages):
    return f"{SPENDS if 'spend' in str(messages[-1].content) else FIXES}"


def test_twenty_turns_at_once_do_not_mix(assistant):
    chain = assistant.chain(subject, pace=0.0005)
    questions = [CALVIN if n % 2 else "Which enzyme fixes carbon dioxide in the Calvin cycle?" for n in range(20)]
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda n: chain.invoke(Turn(questions[n], conversation=str(n))), range(20)))
    for number, answer in enumerate(answers):
        assert answer.text == (SPENDS if number % 2 else FIXES)
    kept = {turn.conversation: (turn.question, turn.answer) for turn in assistant.history.turns()}
    assert kept == {str(n): (questions[n], answers[n].text) for n in range(20)}


def test_astream_yields_what_stream_yields(assistant):
    async def main():
        return [event async for event in assistant.chain(f"{SPENDS} {INVENTED}").astream(Turn(CALVIN))]

    assert kinds(asyncio.run(main())) == [Evidence, Sentence, Dropped, Done]


def test_astream_does_not_hold_up_the_loop(assistant):
    async def main():
        beats = 0

        async def beat():
            nonlocal beats
            while True:
                await asyncio.sleep(0.005)
                beats += 1

        heart = asyncio.create_task(beat())
        async for _ in assistant.chain(SPENDS, pace=0.01).astream(Turn(CALVIN)):
            pass
        heart.cancel()
        return beats

    assert asyncio.run(main()) > 10


@pytest.mark.parametrize("way", ["break", "cancel"])
def test_a_consumer_that_leaves_stops_the_model(assistant, way):
    async def consume(turn, arrived):
        async for event in assistant.chain(f"{FIXES} {SPENDS} " * 30, pace=0.01).astream(turn):
            if isinstance(event, Sentence):
                arrived.set()
                if way == "break":
                    break

    async def main():
        turn, arrived = Turn(CALVIN), asyncio.Event()
        task = asyncio.create_task(consume(turn, arrived))
        await arrived.wait()
        if way == "cancel":
            task.cancel()
        await asyncio.wait({task})
        await asyncio.to_thread(wait_until, lambda: assistant.model.running == 0)
        await asyncio.to_thread(wait_until, assistant.history.turns)

    asyncio.run(main())
    assert assistant.history.turns()[0].record["stopped"]


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_loop_that_has_ended_does_not_trouble_the_turn(assistant):
    async def main():
        stream = assistant.chain(SPENDS, pace=0.01).astream(Turn(CALVIN))
        assert isinstance(await anext(stream), Evidence)

    asyncio.run(main())
    for thread in threading.enumerate():
        if thread.name == "turn":
            thread.join(5)
    assert assistant.history.turns()[0].record["stopped"]


def test_astream_raises_the_model_s_error(assistant):
    async def main():
        seen = []
        with pytest.raises(ValueError, match="out of memory"):
            async for event in assistant.chain(ValueError("out of memory")).astream(Turn(CALVIN)):
                seen.append(event)
        return seen

    assert kinds(asyncio.run(main())) == [Evidence, Done]
