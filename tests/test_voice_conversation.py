"""A spoken conversation with a fake recogniser, a fake voice and a scripted chain."""

import asyncio
import wave

import numpy as np
import pytest
from fake_runtime import FakeChain, FakeIndex
from fake_voice import FakeEars, FakeVoice, loudness, say, silence
from typer.testing import CliRunner

from assistant.cli import app
from assistant.events import Sentence, Turn
from assistant.history import History, TurnRecord
from assistant.settings import VoiceSettings, load_settings
from assistant.voice import conversation as module
from assistant.voice.conversation import Conversation
from assistant.voice.kept import keep, sounds
from assistant.voice.mouth import Mouth, parts
from assistant.voice.scene import Latency
from knowledge.errors import CourseError


class FakeScene:
    """Speaks Scene and writes down what happens."""

    def __init__(self, real_time=False, pace=0.01):
        self.real_time = real_time
        self.chain = FakeChain(FakeIndex())
        self.chain.pace = pace
        self.log, self.states, self.tracks, self.shown = [], [], [], []
        self.turn = None

    async def show(self, state, latency):
        if self.states[-1:] != [state]:
            self.states.append(state)

    async def transcribed(self, text):
        self.log.append(("heard", text))

    async def answer(self, text, take):
        self.log.append(("asked", text))
        self.turn = Turn(text)
        async for event in self.chain.astream(self.turn):
            self.shown.append(event)
            take(event)

    async def remark(self, text):
        self.log.append(("remark", text))

    async def fail(self, error):
        self.log.append(("failed", str(error)))

    async def play(self, speech, track):
        self.log.append(("played", speech.text))
        self.tracks.append(track)

    async def silence(self):
        self.log.append(("silence", ""))

    def stop(self):
        if self.turn:
            self.turn.stop.set()

    def of(self, kind):
        return [text for name, text in self.log if name == kind]


class Talk:
    """A conversation and its fakes."""

    def __init__(self, scene=None, keep=None, hands_free=False, **settings):
        self.scene, self.ears, self.voice = scene or FakeScene(), FakeEars(), FakeVoice()
        parts = self.scene, self.ears, self.voice, VoiceSettings(**settings), loudness
        self.conversation = Conversation(*parts, keep_in=keep)
        self.hands_free = hands_free

    async def hear(self, *sounds, real_time=False):
        for samples in sounds:
            for start in range(0, len(samples), 2731):  # what a chunk of the page amounts to
                cut = await self.conversation.hear(samples[start : start + 2731])
                if real_time:
                    await asyncio.sleep(2731 / 16_000)
                else:
                    await asyncio.sleep(0)
                if cut:
                    return True
        return False

    async def ask(self, *sounds):
        """Press, speak, let go, wait for the end."""
        await self.conversation.press(False)
        await self.hear(*sounds)
        await self.conversation.release()
        await self.conversation.finished()

    async def until(self, holds):
        async with asyncio.timeout(10):
            while not holds():
                await asyncio.sleep(0.005)


def run(what, **options):
    async def inside():
        talk = Talk(**options)
        await what(talk)
        await talk.conversation.close()
        return talk

    return asyncio.run(asyncio.wait_for(inside(), 50))


def test_a_question_is_heard_answered_and_spoken_sentence_by_sentence():
    async def talk(it):
        await it.ask(silence(0.5), say(300), silence(0.3))
        scene = it.scene
        assert scene.of("heard") == scene.of("asked") == ["What does dropout do during training?"]
        sentences = [event for event in scene.shown if isinstance(event, Sentence)]
        assert len(sentences) == 5
        first = ["Looking in the lesson on Regularisation.", "Dropout switches off randomly chosen units during training."]
        assert scene.of("played")[0] == first[0] and scene.of("played")[1].startswith(first[1])
        assert len(scene.of("played")) == 6
        assert len(set(scene.tracks)) == 1
        assert scene.states == ["listening", "thinking", "speaking", "idle"]

    run(talk)


def test_only_checked_sentences_are_spoken():
    async def talk(it):
        await it.ask(say(300))
        assert not any("1998" in text for text in it.voice.said), "what the check left out"

    run(talk)


def test_the_first_sentence_is_spoken_while_the_rest_is_written():
    async def talk(it):
        it.scene.chain.pace = 0.1
        await it.conversation.press(False)
        await it.hear(say(300))
        await it.conversation.release()
        await it.until(lambda: len(it.scene.of("played")) >= 2)
        assert len([event for event in it.scene.shown if isinstance(event, Sentence)]) < 5
        await it.conversation.finished()

    run(talk)


def test_slow_synthesis_holds_nothing_up_and_keeps_the_order():
    async def talk(it):
        it.voice.slow = 0.05
        await it.ask(say(300))
        assert it.scene.of("played") == it.voice.said
        assert len(it.voice.said) == 6

    run(talk)


def test_each_answer_has_a_track_of_its_own():
    async def talk(it):
        await it.ask(say(300))
        await it.ask(say(800))
        assert len(set(it.scene.tracks)) == 2

    run(talk)


def test_a_refusal_is_spoken_with_its_nearest_topics():
    async def talk(it):
        await it.ask(say(800))
        assert it.voice.said[0] == "The course does not seem to cover this."
        assert "Early stopping" in " ".join(it.voice.said)

    run(talk)


@pytest.mark.parametrize("sounds", [(), (silence(2),), (say(1200),)])
def test_nothing_heard_asks_no_model(sounds):
    async def talk(it):
        await it.ask(*sounds)
        assert it.scene.of("remark") == it.voice.said == [module.NOTHING_HEARD]
        assert it.scene.of("asked") == it.scene.of("heard") == []

    run(talk)


def test_silence_is_not_even_transcribed():
    async def talk(it):
        await it.ask(silence(2))
        assert it.ears.heard == []

    run(talk)


def test_doubtful_words_are_asked_back_and_yes_answers_them():
    async def talk(it):
        await it.ask(say(900))
        assert it.scene.of("heard") == ["What does drop art do?"]
        assert it.scene.of("remark") == it.voice.said == ["I heard: What does drop art do. Is that right?"]
        assert it.scene.of("asked") == []
        await it.ask(say(1000))
        assert it.scene.of("asked") == ["What does drop art do?"]
        assert it.scene.of("heard") == ["What does drop art do?"], "the yes is no question"

    run(talk)


def test_doubtful_words_give_way_to_another_question():
    async def talk(it):
        await it.ask(say(900))
        await it.ask(say(300))
        assert it.scene.of("asked") == ["What does dropout do during training?"]
        await it.ask(say(1000))
        assert it.scene.of("asked")[1:] == ["Yes."], "there is no doubt left that a yes could settle"

    run(talk)


def test_how_sure_it_must_be_is_a_setting():
    async def talk(it):
        await it.ask(say(900))
        assert it.scene.of("asked") == ["What does drop art do?"]

    run(talk, sure=0.1)


def test_errors_are_told():
    async def talk(it):
        await it.ask(say(1100))
        assert it.scene.of("failed") == ["The weights of fake-1.5b are not here. Fetch them: lectern models pull"]
        it.voice.broken = CourseError("espeak is missing.", "Run: make voice")
        await it.ask(say(300))
        assert it.scene.of("failed")[1:] == ["espeak is missing. Run: make voice"]
        assert any(isinstance(event, Sentence) for event in it.scene.shown), "the written answer comes all the same"
        assert it.scene.states[-1] == "idle"

    run(talk)


def test_stages_are_timed():
    async def talk(it):
        it.ears.slow = 0.05
        await it.ask(say(300), silence(0.22))
        found = it.conversation.latency.as_json()
        stages = ["end_of_turn_ms", "transcript_ms", "first_sound_ms", "first_sentence_ms", "answer_sound_ms"]
        assert list(found) == stages
        assert found["end_of_turn_ms"] == pytest.approx(220, abs=60)
        assert found["end_of_turn_ms"] + 45 < found["transcript_ms"] < min(found["first_sound_ms"], found["first_sentence_ms"])
        assert found["first_sentence_ms"] < found["answer_sound_ms"]
        assert found["answer_sound_ms"] >= found["first_sound_ms"] + 1000 * it.voice.seconds, "behind what sounds still"

    run(talk)


def test_stop_drops_what_waits_and_stops_the_model():
    async def talk(it):
        await it.conversation.press(False)
        await it.hear(say(400))
        await it.conversation.release()
        await it.until(lambda: len(it.scene.of("played")) >= 2)
        await it.conversation.stop()
        spoken = len(it.voice.said)
        await it.conversation.finished()
        assert it.scene.turn.stop.is_set()
        assert len(it.scene.of("played")) <= 4
        assert len(it.voice.said) <= spoken + 1, "one may be half-way"
        assert it.scene.of("silence")
        assert it.scene.states[-1] == "idle"

    run(talk, scene=FakeScene(real_time=True, pace=0.03))


def test_a_press_silences_and_asks_anew():
    async def talk(it):
        await it.conversation.press(False)
        await it.hear(say(400))
        await it.conversation.release()
        await it.until(lambda: it.scene.of("played"))
        await it.ask(say(300))
        assert it.scene.of("asked") == ["Tell me a long story about training", "What does dropout do during training?"]
        assert len(it.scene.chain.done) == 2
        assert it.scene.chain.done[0].stopped

    run(talk, scene=FakeScene(real_time=True, pace=0.03))


def test_the_longest_question_is_cut_and_answered():
    async def talk(it):
        await it.conversation.press(False)
        assert await it.hear(say(300, 7))
        await it.conversation.release()  # of the page, which is late
        await it.conversation.finished()
        assert it.scene.of("asked") == ["What does dropout do during training?"]
        assert it.ears.heard == [pytest.approx(5, abs=0.1)]

    run(talk, longest_s=5)


# Hands-free


def test_hands_free_goes_on_listening():
    async def talk(it):
        await it.conversation.press(True)
        await it.hear(say(300), silence(1))
        await it.conversation.finished()
        await it.hear(silence(1), say(800), silence(1))
        await it.conversation.finished()
        assert it.scene.of("asked") == ["What does dropout do during training?", "What is the weather?"]
        assert it.scene.states[-1] == "listening"
        await it.conversation.release()
        assert it.scene.states[-1] == "idle"

    run(talk)


def test_hands_free_says_nothing_about_noise():
    async def talk(it):
        await it.conversation.press(True)
        await it.hear(say(1200), silence(1), silence(3))
        await it.conversation.finished()
        assert it.scene.of("remark") == it.voice.said == []

    run(talk)


async def _while_spoken_to(it, *sounds):
    """Ask for the long story hands-free, and let `sounds` be heard while it is spoken."""
    await it.conversation.press(True)
    await it.hear(say(400), silence(1))
    await _hears_the_answer(it)
    await it.hear(*sounds)


async def _hears_the_answer(it):
    """Wait until the answer's first words sound, behind those that say where it is looked for."""
    await it.until(lambda: len(it.scene.of("played")) >= 2)
    await asyncio.sleep(it.voice.seconds)


def story():
    """A scene in which the long story takes its time."""
    return FakeScene(real_time=True, pace=0.05)


def test_a_question_interrupts():
    async def talk(it):
        await _while_spoken_to(it, say(300, 1.5))
        assert it.scene.turn.stop.is_set(), "it is silent before the question is over"
        assert it.scene.of("silence")
        await it.hear(silence(1))
        await it.until(lambda: len(it.scene.of("asked")) == 2)
        assert it.scene.of("asked")[1] == "What does dropout do during training?"

    run(talk, scene=story())


@pytest.mark.parametrize("hertz", [600, 700, 1200], ids=["uh-huh", "echo", "noise"])
def test_neither_a_word_nor_an_echo_nor_noise_interrupts(hertz):
    async def talk(it):
        await _while_spoken_to(it, say(hertz, 1.5), silence(1))
        assert not it.scene.turn.stop.is_set()
        assert it.conversation.busy
        assert len(it.scene.of("asked")) == 1
        assert len(it.ears.heard) > 1, "it was listened to"

    run(talk, scene=story())


def test_stop_said_aloud_stops_and_is_no_question():
    async def talk(it):
        await _while_spoken_to(it, say(500, 0.5), silence(0.3))
        assert it.scene.turn.stop.is_set()
        await it.hear(silence(1))
        await it.conversation.finished()
        assert len(it.scene.of("asked")) == 1
        assert it.scene.states[-1] == "listening"

    run(talk, scene=story())


def test_an_echo_that_comes_late_is_no_question():
    async def talk(it):
        it.scene.real_time = False  # what is played is over at once, as far as the scene is concerned
        it.voice.seconds = 0.05
        await it.conversation.press(True)
        await it.hear(say(400), silence(1))
        await _hears_the_answer(it)
        await it.conversation.stop()
        await it.conversation.finished()
        await it.hear(say(700), silence(1))
        await it.conversation.finished()
        assert it.scene.of("asked") == ["Tell me a long story about training"]

    run(talk)


def test_closing_leaves_nothing_running():
    async def talk(it):
        before = asyncio.all_tasks()
        await _while_spoken_to(it)
        await it.conversation.close()
        await asyncio.sleep(0.2)
        played = len(it.scene.of("played"))
        await asyncio.sleep(0.5)
        assert len(it.scene.of("played")) == played
        assert not it.conversation.busy
        assert asyncio.all_tasks() == before

    run(talk, scene=story())


# Before it is asked for


def test_what_was_said_is_transcribed_at_the_pause_and_not_again():
    async def talk(it):
        await it.conversation.press(False)
        await it.hear(say(300), silence(0.35))
        await it.until(lambda: it.ears.heard)
        assert it.conversation.latency is None, "nobody has let go yet"
        it.ears.slow = 5  # would be noticed
        await it.hear(silence(1))
        await it.conversation.release()
        await it.conversation.finished()
        assert it.scene.of("asked") == ["What does dropout do during training?"]
        assert len(it.ears.heard) == 1
        assert it.conversation.latency.transcript_ms - it.conversation.latency.end_of_turn_ms < 2000

    run(talk)


def test_hands_free_the_pause_that_ends_a_question_is_not_waited_for():
    async def talk(it):
        it.ears.slow = 0.3
        await it.conversation.press(True)
        await it.hear(say(300), silence(0.8), real_time=True)
        await it.conversation.finished()
        latency = it.conversation.latency
        assert latency.transcript_ms < latency.end_of_turn_ms + 150, "300 are hidden in the pause"
        assert len(it.ears.heard) == 1

    run(talk)


def test_who_goes_on_is_heard_to_the_end():
    async def talk(it):
        await it.ask(say(300), silence(0.5), say(300, 2), silence(0.1))
        assert it.scene.of("asked") == ["What does dropout do during training?"]
        assert it.ears.heard == [pytest.approx(1.25, abs=0.1), pytest.approx(3.6, abs=0.1)]

    run(talk)


def test_of_many_pauses_only_the_latest_is_heard():
    async def talk(it):
        it.ears.slow = 0.2
        await it.ask(*[sound for _ in range(6) for sound in (say(300, 0.5), silence(0.4))])
        assert len(it.ears.heard) == 2, "the one that had begun, and the whole"
        assert it.ears.heard[-1] == pytest.approx(5.25, abs=0.2)

    run(talk)


def test_what_was_heard_ahead_is_dropped_with_a_new_press():
    async def talk(it):
        await it.conversation.press(False)
        await it.hear(say(800), silence(0.5))
        await it.until(lambda: it.ears.heard)
        await it.ask(say(300), silence(0.5))
        assert it.scene.of("asked") == ["What does dropout do during training?"]

    run(talk)


def test_an_engine_that_fails_ahead_fails_the_turn_only():
    async def talk(it):
        def broken(samples, hints=""):
            raise CourseError("The weights are damaged.", "Fetch them again.")

        it.ears.hear = broken
        it.conversation = Conversation(it.scene, it.ears, it.voice, VoiceSettings(), loudness)
        await it.ask(say(300), silence(0.5))
        assert it.scene.of("failed") == ["The weights are damaged. Fetch them again."]

    run(talk)


def test_a_press_warms_the_voice_before_anything_is_said():
    async def talk(it):
        await it.conversation.press(False)
        assert it.voice.warmed == 1
        assert it.voice.said == []

    run(talk)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("Dropout helps.", ["Dropout helps."]),
        ("It is small, source one.", ["It is small, source one."]),
        (
            "Dropout switches off random units, but only in training. Source one, lesson on Dropout.",
            ["Dropout switches off random units,", "but only in training. Source one, lesson on Dropout."],
        ),
    ],
)
def test_a_first_sentence_is_cut_at_its_marks(words, found):
    assert parts(words) == found
    assert " ".join(parts(words)) == words


def test_each_part_has_more_words_so_that_it_is_ready_in_time():
    words = " ".join(f"one two {number}," for number in range(40))
    lengths = [len(part.split()) for part in parts(words)]
    assert lengths == [6, 9, 18, 33, 54]
    assert " ".join(parts(words)) == words


def test_the_first_part_of_an_answer_sounds_while_the_next_is_made_and_what_leads_to_it_is_whole():
    async def talk():
        voice, played, latency = FakeVoice(slow=0.05), [], Latency()

        async def play(speech, track):
            played.append((speech.text, len(voice.said)))

        mouth = Mouth(voice, play, latency)
        mouth.say("Looking in one, two, three and four, five, six, seven, eight, nine.", answers=False)
        mouth.say("One, two, three, four five, six, seven, eight, nine, ten, eleven, twelve.")
        await mouth.finish(until_heard=False)
        return played, latency

    played, latency = asyncio.run(talk())
    assert [made for _, made in played] == [1, 2, 3]
    assert played[0][0].endswith("nine.") and played[1][0] == "One, two, three, four five,"
    assert latency.first_sound_ms < latency.answer_sound_ms


# Privacy


def kept(folder):
    return {path.stem for path in folder.glob("*")}


def test_sound_is_kept_only_on_request_and_named_after_its_turn(tmp_path):
    folder = tmp_path / "spoken"
    run(lambda it: it.ask(say(300)))
    assert not folder.exists()
    talk = run(lambda it: it.ask(silence(0.5), say(300), silence(0.5)), keep=folder)
    (path,) = folder.iterdir()
    assert path.stem == talk.scene.chain.done[0].turn_id
    with wave.open(str(path)) as file:
        assert file.getframerate() == 16_000
        assert np.frombuffer(file.readframes(16_000), "<i2").max() > 5000


def test_what_led_to_no_turn_is_not_kept_and_a_confirmed_question_is(tmp_path):
    async def talk(it):
        await it.ask(say(900))
        assert kept(tmp_path) == set()
        await it.ask(say(1000, 3))
        assert kept(tmp_path) == {it.scene.chain.done[0].turn_id}
        await it.ask(say(1200))
        assert len(kept(tmp_path)) == 1

    run(talk, keep=tmp_path)
    (path,) = tmp_path.iterdir()
    with wave.open(str(path)) as file:
        assert file.getnframes() / 16_000 == pytest.approx(1, abs=0.2), "the question, not the yes"


def test_deleting_turns_deletes_what_was_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("LECTERN_DATA_DIR", str(tmp_path))
    load_settings.cache_clear()
    history, folder = History(load_settings().history_file), sounds(tmp_path)
    for name in ("aa11", "ab22", "cc33"):
        history.add(TurnRecord(name, "c", "2026-01-01", "What?", "What?", "That.", None, {}))
        keep(folder, name, say(300, 0.1))
    history.add(TurnRecord("dd44", "c", "2026-01-01", "Typed?", "Typed?", "That.", None, {}))
    try:
        for arguments, left in ((["aa"], {"ab22", "cc33"}), (["dd"], {"ab22", "cc33"}), (["--all"], set())):
            done = CliRunner().invoke(app, ["history", "delete", *arguments])
            assert done.exit_code == 0, done.output
            assert kept(folder) == left
        assert history.turns() == []
    finally:
        load_settings.cache_clear()


def test_a_sound_that_cannot_be_deleted_keeps_its_turn(tmp_path, monkeypatch):
    monkeypatch.setenv("LECTERN_DATA_DIR", str(tmp_path))
    load_settings.cache_clear()
    history = History(load_settings().history_file)
    history.add(TurnRecord("aa11", "c", "2026-01-01", "What?", "What?", "That.", None, {}))
    (sounds(tmp_path) / "aa11.wav").mkdir(parents=True)  # whoever deletes it is told so, root too
    try:
        done = CliRunner().invoke(app, ["history", "delete", "aa11"])
        assert isinstance(done.exception, CourseError)
        assert "aa11.wav cannot be deleted" in str(done.exception)
        assert len(history.turns()) == 1
    finally:
        load_settings.cache_clear()
