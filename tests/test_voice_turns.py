"""Whose turn it is, from given probabilities of speech, and what counts as an interruption."""

import numpy as np
import pytest

from assistant.voice.turns import (
    WINDOW,
    WINDOW_MS,
    Interjection,
    Listener,
    Pause,
    Started,
    Turns,
    Utterance,
    interrupts,
    is_stop,
)

QUIET, LOUD = 0.02, 0.95
SPOKEN = "Dropout switches off randomly chosen units during training."


def sound(*parts):
    """(milliseconds, probability) pairs -> (window, probability) pairs; each window holds its own number."""
    number = 0
    for milliseconds, probability in parts:
        for _ in range(round(milliseconds / WINDOW_MS)):
            number += 1
            yield np.full(WINDOW, number, np.float32), probability


def feed(turns, *parts, pauses=False):
    """Signals with the time at which they came, without pauses or only those."""
    found = []
    for number, (window, probability) in enumerate(sound(*parts), start=1):
        if (signal := turns.feed(window, probability)) is not None and isinstance(signal, Pause) == pauses:
            found.append((signal, number * WINDOW_MS))
    return found


def hands_free(**changes):
    return Turns(**{"hands_free": True, "pause_ms": 650, "longest_s": 120} | changes)


def ms(utterance):
    return len(utterance.samples) / 16


def test_a_pause_ends_an_utterance():
    (started, at_start), (ended, at_end) = feed(hands_free(), (1000, QUIET), (1500, LOUD), (2000, QUIET))
    assert isinstance(started, Started)
    assert at_start == pytest.approx(1250, abs=40)
    assert isinstance(ended, Utterance)
    assert not ended.cut
    assert at_end == pytest.approx(1000 + 1500 + 650, abs=40)
    assert ended.silence_ms == pytest.approx(650, abs=20)


def test_an_utterance_has_a_little_silence_on_both_sides():
    _, (ended, _) = feed(hands_free(), (1000, QUIET), (1500, LOUD), (2000, QUIET))
    assert ms(ended) == pytest.approx(400 + 1500 + 250, abs=70)
    first_loud = round(1000 / WINDOW_MS) + 1
    assert ended.samples[0] == pytest.approx(first_loud - 400 / WINDOW_MS, abs=1)


def test_a_pause_to_think_ends_nothing():
    signals = feed(hands_free(), (800, LOUD), (580, QUIET), (800, LOUD), (1000, QUIET))
    assert [type(signal) for signal, _ in signals] == [Started, Utterance]
    assert ms(signals[1][0]) > 800 + 580 + 800


def test_the_pause_is_a_setting():
    signals = feed(hands_free(pause_ms=300), (800, LOUD), (580, QUIET), (800, LOUD), (1000, QUIET))
    assert [type(signal) for signal, _ in signals] == [Started, Utterance, Started, Utterance]


def test_a_click_is_no_utterance():
    assert feed(hands_free(), (200, LOUD), (3000, QUIET)) == []


@pytest.mark.parametrize("freely", [False, True])
def test_a_short_pause_tells_exactly_what_the_utterance_will_be_if_nothing_follows(freely):
    turns = hands_free(hands_free=freely)
    ((first, at_first), (second, at_second)) = feed(
        turns, (1000, QUIET), (800, LOUD), (400, QUIET), (800, LOUD), (400, QUIET), pauses=True
    )
    assert at_first == pytest.approx(1000 + 800 + 250, abs=40)
    assert at_second == pytest.approx(at_first + 400 + 800, abs=40)
    assert len(first.samples) < len(second.samples)
    assert np.array_equal(turns.release().samples, second.samples)


def test_a_click_or_a_breath_is_no_pause():
    assert feed(hands_free(), (200, LOUD), (600, QUIET), pauses=True) == []
    assert feed(hands_free(), (800, LOUD), (200, QUIET), (800, LOUD), (200, QUIET), pauses=True) == []


def test_doubtful_sound_goes_on_but_does_not_begin():
    assert feed(hands_free(), (1000, 0.4), (1000, QUIET)) == []
    signals = feed(hands_free(), (500, LOUD), (1000, 0.4), (1000, QUIET))
    assert ms(signals[1][0]) > 1500


def test_the_longest_utterance_is_cut():
    signals = feed(hands_free(longest_s=5), (5500, LOUD))
    assert signals[1][0].cut
    assert ms(signals[1][0]) == pytest.approx(5000, abs=40)
    assert feed(Turns(False, 650, longest_s=5), (5500, LOUD))[1][0].cut


def test_the_button_takes_all_pauses_and_trims_the_ends():
    turns = Turns(hands_free=False, pause_ms=650, longest_s=120)
    signals = feed(turns, (3000, QUIET), (500, LOUD), (4000, QUIET), (500, LOUD), (2000, QUIET))
    assert [type(signal) for signal, _ in signals] == [Started]
    utterance = turns.release()
    assert ms(utterance) == pytest.approx(400 + 500 + 4000 + 500 + 250, abs=130)
    assert utterance.silence_ms == pytest.approx(2000, abs=40)


@pytest.mark.parametrize("parts", [(), ((3000, QUIET),), ((200, LOUD), (500, QUIET))])
def test_a_button_without_speech_gives_nothing(parts):
    turns = Turns(hands_free=False, pause_ms=650, longest_s=120)
    feed(turns, *parts)
    assert len(turns.release().samples) == 0
    assert len(turns.release().samples) == 0


def test_speech_while_spoken_to_is_listened_to_again_and_again():
    turns = hands_free()
    turns.spoken_to = True
    signals = feed(turns, (1000, QUIET), (2000, LOUD), (1000, QUIET))
    times = [at for signal, at in signals if isinstance(signal, Interjection)]
    assert times == pytest.approx([1600, 2200, 2800, 3190], abs=60)
    assert isinstance(signals[-1][0], Utterance)


def test_a_short_word_is_listened_to_before_the_pause_is_over():
    turns = hands_free()
    turns.spoken_to = True
    signals = feed(turns, (500, QUIET), (400, LOUD), (1000, QUIET))
    assert [type(signal) for signal, _ in signals] == [Interjection, Utterance]
    assert signals[0][1] == pytest.approx(500 + 400 + 190, abs=40)


def test_a_listener_takes_chunks_of_any_length():
    seen = []

    def detector(samples):
        assert len(samples) % WINDOW == 0
        seen.append(samples)
        return [LOUD if window.max() > 0.5 else QUIET for window in samples.reshape(-1, WINDOW)]

    sound = np.concatenate([np.ones(16_000), np.zeros(16_000)]).astype(np.float32)
    listener = Listener(detector, hands_free())
    signals = [signal for start in range(0, len(sound), 2731) for signal in listener.feed(sound[start : start + 2731])]
    assert [type(signal) for signal in signals] == [Started, Pause, Utterance]
    assert (np.concatenate(seen) == sound[: len(sound) // WINDOW * WINDOW]).all()


@pytest.mark.parametrize(
    "heard", ["Stop.", "stop, please", "Please stop!", "Be quiet.", "OK stop", "That's enough.", "Stop it.", "stop stop"]
)
def test_stop(heard):
    assert is_stop(heard)
    assert interrupts(heard, SPOKEN)


@pytest.mark.parametrize("heard", ["", "When does training stop?", "early stopping", "Is it enough?", "please", "stop words"])
def test_not_stop(heard):
    assert not is_stop(heard)


def test_stop_as_an_echo_stops_nothing():
    assert not interrupts("Stop.", "Training can stop early.")


@pytest.mark.parametrize("heard", ["", "Uh-huh.", "Mm.", "Yes.", "Okay.", "Uh huh, right.", "Yes, okay."])
def test_signs_of_listening_interrupt_nothing(heard):
    assert not interrupts(heard, SPOKEN)
    assert not interrupts(heard, "")


@pytest.mark.parametrize(
    "heard",
    [
        "Dropout switches off randomly chosen units.",
        "randomly chosen units during",
        "drop out which is off randomly chosen units",
        "Drop-out, switch is off, randomly chosen.",
        "off randomly chose in units during train",
    ],
)
def test_an_echo_interrupts_nothing(heard):
    assert not interrupts(heard, SPOKEN)


@pytest.mark.parametrize(
    "heard", ["Wait a moment.", "What about weight decay?", "But why is dropout needed?", "And what is training?"]
)
def test_words_of_ones_own_interrupt(heard):
    assert interrupts(heard, SPOKEN)


def test_what_would_be_an_echo_interrupts_when_nothing_is_spoken():
    assert interrupts("Dropout switches off randomly chosen units.", "")


@pytest.mark.model
def test_the_detector_remembers_as_one_long_run_does():
    pytest.importorskip("faster_whisper", reason="the extra voice is not installed")
    from assistant.voice.turns import SpeechDetector

    random = np.random.default_rng(0)
    hum = np.sin(np.arange(WINDOW * 60) * 0.1) * np.repeat(random.random(60), WINDOW)
    samples = (0.3 * hum + 0.1 * random.standard_normal(len(hum))).astype(np.float32)
    whole = SpeechDetector()(samples)
    detector = SpeechDetector()
    pieces = [p for start in range(0, len(samples), 4 * WINDOW) for p in detector(samples[start : start + 4 * WINDOW])]
    assert pieces == pytest.approx(whole, abs=1e-5)
    assert len(pieces) == 60
