"""What the model is asked: which section, which sentences, how much of the conversation."""

import pytest
from fake_model import FakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from toy_index import toy_index

from assistant.answer import collect
from assistant.chain import CourseChain
from assistant.events import Exchange, Refusal, Sentence, Turn
from assistant.llm.chat_llama import ChatLlama
from assistant.prompts import NOT_COVERED, RULES_KEY, SECTION_KEY, SYSTEM
from assistant.settings import AnswerSettings
from course_guard.grounding import OverlapVerifier
from knowledge.evidence import EvidencePlanner, Excerpt, Plan
from knowledge.retrieval import CourseRetriever

CALVIN = "What does the Calvin cycle spend?"
LIGHT = "Which light does chlorophyll absorb in the plant cells?"
PERIODS = "How does the period of a planet grow with the axis?"
RISOTTO = "How do I cook mushroom risotto?"
SPENDS = "The Calvin cycle spends 3 ATP and 2 NADPH per molecule of carbon dioxide."
ABSORBS = "Chlorophyll absorbs red and blue light."
GROWS = "The square of the period grows with the cube of the semi-major axis."
INVENTED = "It was discovered by three Belgian monks in 1850."


class Sections:
    """Speaks assistant.turn.Sections: the model has read the sections with these ids; `joined` ones may be joined."""

    def __init__(self, *ready, joined=()):
        self.ready, self.joined, self.wanted = set(ready), joined, []

    def is_ready(self, section_id, passages):
        assert passages == toy_index().section_passages(section_id)
        return section_id in self.ready

    def want(self, section_id):
        self.wanted.append(section_id)

    def further(self, plan, found):
        assert plan.section_id in self.ready
        return [(id_, toy_index().section_passages(id_)) for id_ in self.joined if id_ != plan.section_id]


class Planner(EvidencePlanner):
    """Adds the first sentence of another section to every plan."""

    def plan(self, question, found):
        plan = super().plan(question, found)
        elsewhere = section("Bayes' theorem" if plan.section_id != section("Bayes' theorem") else "Orbits")
        other = toy_index().section_passages(elsewhere)[0]
        extra = Excerpt(other, ((0, other.text.index(".") + 1),), 20)
        return Plan(plan.section_id, plan.section, (extra,), plan.pruned)


def section(title):
    """Its id."""
    return next(s.id for s in toy_index().sections() if s.heading[0] == title)


PLANTS, ORBITS, BAYES = section("Photosynthesis"), section("Orbits"), section("Bayes' theorem")


class Conversation:
    """Questions to one chain; every answer goes into the next turn as the page puts it there."""

    def __init__(self, *replies, sections=None, planner=EvidencePlanner, earlier=(), settings=None, **options):
        self.model = FakeChatModel(replies=list(replies), **options)
        self.sections, self.earlier = sections, tuple(earlier)
        index = toy_index()
        self.chain = CourseChain(
            CourseRetriever(index=index, k=20),
            planner(index),
            self.model,
            OverlapVerifier(index.embedder),
            settings=settings or AnswerSettings(),
            sections=sections,
        )

    def ask(self, question):
        turn = Turn(question, earlier=self.earlier)
        answer = collect(turn, self.chain.stream(turn))
        if answer.done.exchange:
            self.earlier = (*self.earlier, answer.done.exchange)
        return answer

    @property
    def prompt(self):
        """The latest."""
        return self.model.prompts[-1]


def keys(message):
    return [block.get("cache_key") for block in message.content]


def asked(messages):
    return [message.content for message in messages if isinstance(message, HumanMessage)]


# The section


@pytest.mark.parametrize("sections", [None, Sections(PLANTS)], ids=["no engine of ours", "read ahead"])
def test_the_whole_section_is_a_block_of_its_own(sections):
    talk = Conversation(SPENDS, sections=sections)
    answer = talk.ask(CALVIN)
    rules, evidence = talk.prompt[0].content
    assert (rules["text"], keys(talk.prompt[0])) == (SYSTEM, [RULES_KEY, f"{SECTION_KEY}{PLANTS}"])
    assert all(passage.text in evidence["text"] for passage in toy_index().section_passages(PLANTS))
    assert not answer.evidence.cold
    assert answer.done.exchange == Exchange(CALVIN, SPENDS, PLANTS)
    assert sections is None or sections.wanted == []


def test_a_section_is_the_same_block_whatever_is_asked():
    prompts = []
    for question, reply in ((CALVIN, SPENDS), (LIGHT, ABSORBS)):
        talk = Conversation(reply, sections=Sections(PLANTS), planner=Planner)
        talk.ask(question)
        prompts.append(talk.prompt)
    assert prompts[0][0] == prompts[1][0]


def test_sentences_from_elsewhere_stand_before_the_question_in_the_message_of_the_user():
    talk = Conversation(SPENDS, sections=Sections(PLANTS), planner=Planner)
    answer = talk.ask(CALVIN)
    (message,) = asked(talk.prompt)
    assert message.startswith("Bayes' theorem:\nBayes' theorem turns the probability")
    assert message.endswith(f"\n\n{CALVIN}")
    assert answer.done.exchange.prompted == message


def test_the_found_passages_are_listed_first_and_the_rest_of_the_section_after_them():
    answer = Conversation(SPENDS, sections=Sections(PLANTS)).ask(CALVIN)
    listed = answer.evidence.passages
    assert listed[0].passage.heading[-1] == "Calvin cycle"
    assert {item.passage for item in listed} == set(toy_index().section_passages(PLANTS))
    scores = [item.score for item in listed]
    assert scores == sorted(scores, reverse=True)


def test_citations_are_numbered_as_the_evidence_is_listed():
    reply = f"{SPENDS} {ABSORBS} The light reactions split water, release oxygen and load ATP and NADPH."
    answer = Conversation(reply, sections=Sections(PLANTS), planner=Planner).ask(CALVIN)
    assert len({citation.number for sentence in answer.sentences for citation in sentence.citations}) == 3
    for sentence in answer.sentences:
        for citation in sentence.citations:
            assert answer.evidence.passages[citation.number - 1].passage == citation.passage


# A section that has not been read


def test_a_cold_section_is_answered_from_its_best_sentences():
    sections = Sections()
    talk = Conversation(SPENDS, sections=sections, planner=Planner)
    answer = talk.ask(CALVIN)
    rules, evidence = talk.prompt[0].content
    assert keys(talk.prompt[0]) == [RULES_KEY, None]
    assert "3 ATP and 2 NADPH" in evidence["text"]
    assert "Chlorophyll absorbs" not in evidence["text"]
    assert asked(talk.prompt) == [CALVIN]
    assert answer.evidence.cold
    assert [item.passage.heading[-1] for item in answer.evidence.passages] == ["Calvin cycle"]
    assert [citation.number for citation in answer.sentences[0].citations] == [1]
    assert answer.done.exchange == Exchange(CALVIN, SPENDS)


def test_a_cold_section_is_wanted_once_the_answer_is_there():
    sections = Sections()
    wanted_before = []

    def reply(messages):
        wanted_before.extend(sections.wanted)
        return SPENDS

    Conversation(reply, sections=sections).ask(CALVIN)
    assert (wanted_before, sections.wanted) == ([], [PLANTS])


@pytest.mark.parametrize("reply", [INVENTED, "The passages do not mention it.", ""])
def test_a_cold_section_is_wanted_after_a_refusal_too(reply):
    sections = Sections()
    assert Conversation(reply, sections=sections).ask(CALVIN).refusal
    assert sections.wanted == [PLANTS]


def test_a_cold_section_is_wanted_by_a_reader_who_stops():
    sections = Sections()
    talk = Conversation(f"{SPENDS} {SPENDS}", sections=sections, pace=0.001)
    turn = Turn(CALVIN)
    for event in talk.chain.stream(turn):
        if isinstance(event, Sentence):
            turn.stop.set()
    assert sections.wanted == [PLANTS]


def test_once_it_is_read_the_section_is_used():
    sections = Sections()
    talk = Conversation(SPENDS, SPENDS, sections=sections)
    assert talk.ask(CALVIN).evidence.cold
    sections.ready.add(PLANTS)
    assert not talk.ask(CALVIN).evidence.cold
    assert sections.wanted == [PLANTS]


# Refusals


def test_what_the_course_does_not_cover_is_refused_without_model_and_section():
    sections = Sections(PLANTS)
    talk = Conversation(INVENTED, sections=sections)
    answer = talk.ask(RISOTTO)
    assert (answer.refusal.rule, answer.evidence.passages, answer.done.exchange) == ("not_covered", (), None)
    assert (talk.model.prompts, sections.wanted) == ([], [])


def test_a_course_that_changes_during_the_search_has_no_answer():
    class Gone(EvidencePlanner):
        def plan(self, question, found):
            assert found.covered

    talk = Conversation(SPENDS, sections=Sections(PLANTS), planner=Gone)
    answer = talk.ask(CALVIN)
    assert (answer.refusal.rule, answer.evidence.passages, talk.model.prompts) == ("not_covered", (), [])
    assert "Photosynthesis: Calvin cycle" in answer.refusal.suggestions


@pytest.mark.parametrize("reply", [INVENTED, "The passages do not mention it."])
def test_a_refusal_is_no_part_of_the_conversation(reply):
    talk = Conversation(reply, reply, SPENDS, sections=Sections(PLANTS))
    assert isinstance(talk.ask(CALVIN).refusal, Refusal)
    talk.ask("And what does it spend?")
    assert len(talk.prompt) == 2


# Joined sections


def test_joined_sections_follow_as_blocks_of_their_own():
    sections = Sections(PLANTS, joined=(ORBITS, BAYES))
    talk = Conversation(f"{SPENDS} {GROWS}", sections=sections, planner=Planner)
    answer = talk.ask(CALVIN)
    assert keys(talk.prompt[0]) == [RULES_KEY, *(f"{SECTION_KEY}{id_}" for id_ in (PLANTS, ORBITS, BAYES))]
    assert asked(talk.prompt) == [CALVIN]
    assert answer.done.exchange.prompted == ""
    passages = [item.passage for item in answer.evidence.passages]
    assert len(passages) == len(set(passages)) == sum(len(toy_index().section_passages(id_)) for id_ in (PLANTS, ORBITS, BAYES))
    cited = answer.sentences[1].citations[0]
    assert cited.passage.section_id == ORBITS
    assert passages[cited.number - 1] == cited.passage


def test_nothing_is_joined_to_a_cold_section():
    talk = Conversation(SPENDS, sections=Sections(ORBITS, joined=(ORBITS,)))
    talk.ask(CALVIN)
    assert keys(talk.prompt[0]) == [RULES_KEY, None]


# The conversation


def test_a_conversation_about_one_section_goes_on_where_it_was():
    talk = Conversation(SPENDS, ABSORBS, sections=Sections(PLANTS), planner=Planner)
    first = talk.ask(CALVIN)
    before = talk.prompt
    talk.ask(LIGHT)
    assert talk.prompt[: len(before)] == before
    assert "Bayes' theorem turns" in before[-1].content
    assert talk.prompt[len(before)] == AIMessage(first.text)
    assert len(talk.prompt) == len(before) + 2


def test_a_new_topic_begins_afresh():
    talk = Conversation(SPENDS, GROWS, sections=Sections(PLANTS, ORBITS))
    talk.ask(CALVIN)
    talk.ask(PERIODS)
    assert (len(talk.prompt), keys(talk.prompt[0])[1]) == (2, f"{SECTION_KEY}{ORBITS}")


def test_back_to_an_earlier_topic_begins_afresh_too():
    talk = Conversation(SPENDS, GROWS, ABSORBS, ABSORBS, sections=Sections(PLANTS, ORBITS))
    for question in (CALVIN, PERIODS, LIGHT):
        talk.ask(question)
    assert asked(talk.prompt) == [LIGHT]
    talk.ask(LIGHT)
    assert asked(talk.prompt) == [LIGHT, LIGHT]


def test_a_follow_up_that_leads_to_another_section_keeps_the_last_turns():
    earlier = [Exchange(f"Question {n}?", f"Answer {n}.", BAYES) for n in range(4)]
    talk = Conversation(GROWS, sections=Sections(ORBITS), earlier=earlier)
    follow_up = "And how does its period grow with the semi-major axis, by Kepler's third law?"
    assert talk.ask(follow_up).done.exchange.section_id == ORBITS
    assert asked(talk.prompt) == ["Question 2?", "Question 3?", follow_up]


@pytest.mark.parametrize(("question", "seen"), [(CALVIN, []), ("And what does the Calvin cycle spend for it?", [2, 3])])
def test_a_cold_section_sees_the_conversation_only_for_a_follow_up(question, seen):
    earlier = [Exchange(f"Question {n}?", f"Answer {n}.", PLANTS) for n in range(4)]  # its state has gone since
    talk = Conversation(SPENDS, sections=Sections(), earlier=earlier)
    talk.ask(question)
    assert asked(talk.prompt) == [*(f"Question {n}?" for n in seen), question]


@pytest.mark.parametrize(("turns", "kept"), [(0, 0), (2, 2), (5, 5), (6, 2), (9, 5), (10, 2)])
def test_the_oldest_turns_about_a_section_are_dropped_four_at_a_time(turns, kept):
    earlier = [Exchange("Question 0?", "Answer.", BAYES)]
    earlier += [Exchange(f"Question {n + 1}?", "Answer.", PLANTS) for n in range(turns)]
    talk = Conversation(SPENDS, sections=Sections(PLANTS), earlier=earlier)
    talk.ask(CALVIN)
    assert asked(talk.prompt) == [*(f"Question {n + 1}?" for n in range(turns - kept, turns)), CALVIN]


def test_the_tokens_that_need_not_be_computed_are_counted():
    done = Conversation(SPENDS, sections=Sections(PLANTS), prompt_tokens=700, cached_tokens=650).ask(CALVIN).done
    assert (done.prompt_tokens, done.cached_tokens) == (700, 650)


@pytest.mark.model
def test_the_tokens_of_a_conversation_are_the_beginning_of_its_next_prompt(small_model):
    model = ChatLlama(path=small_model, context=2048, threads=1)
    talk = Conversation(SPENDS, ABSORBS, sections=Sections(PLANTS), planner=Planner)
    answer = talk.ask(CALVIN)
    written = model.scheduler.engine.tokenize(answer.text, special=False)
    first = model.prompt_tokens(talk.prompt)
    talk.ask(LIGHT)
    then = model.prompt_tokens(talk.prompt)
    assert then[: len(first) + len(written)] == [*first, *written]
    other = Conversation(GROWS, sections=Sections(PLANTS, ORBITS))
    other.ask(PERIODS)
    assert model.prompt_tokens(other.prompt)[: len(first)] != first


# The second try


@pytest.mark.parametrize("first", [NOT_COVERED, INVENTED], ids=["declined", "nothing supported"])
def test_the_best_passage_alone_is_tried_where_the_first_prompt_brought_nothing(first):
    talk = Conversation(first, SPENDS)
    answer = talk.ask(CALVIN)
    assert (answer.text, answer.refusal) == (SPENDS, None)
    told, best = talk.prompt[0].content, answer.evidence.passages[0].passage
    assert best.text in told and NOT_COVERED not in told
    others = [item.passage.text for item in answer.evidence.passages if item.passage.id != best.id]
    assert not any(text in told for text in others)
    assert [d.text for d in answer.dropped] == ([INVENTED] if first == INVENTED else [])


def test_what_brings_nothing_twice_is_refused_once():
    talk = Conversation(NOT_COVERED)
    answer = talk.ask(CALVIN)
    assert (answer.refusal.rule, len(talk.model.prompts)) == ("not_covered", 2)
    assert answer.refusal.suggestions
    assert answer.done.prompt_tokens == 200


def test_an_answer_is_not_tried_again():
    talk = Conversation(SPENDS)
    talk.ask(CALVIN)
    assert len(talk.model.prompts) == 1


def test_a_doubtful_question_gets_no_second_try():
    talk = Conversation(NOT_COVERED, settings=AnswerSettings(second_try=1.0))
    assert talk.ask(CALVIN).refusal.rule == "not_covered"
    assert len(talk.model.prompts) == 1
