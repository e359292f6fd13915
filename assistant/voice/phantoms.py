"""What Whisper makes up where nobody speaks, told from what was said.

Measured with the base model on 20 kinds of synthesised noise and music that were forced upon it, and on 13 recordings of
people. Without speech the words' probability was 0.03 to 0.25 and `no_speech` 0.57 to 0.81, in a sung "ah" 0.48 and 0.61. With
speech it was 0.45 to 0.93, and `no_speech` at most 0.24 but for two with long silences (0.57, 0.72), so it never decides alone.
Loops are sure of themselves (0.93), but compress 7 times and more, speech 0.3 to 1.6 times.
"""

import re

_COMPRESSION = 2.4  # above it is a loop; of Whisper's own code (transcribe.py), as is the next
_NO_SPEECH = 0.6
_CERTAIN = 0.5  # words this probable are believed against _NO_SPEECH
_GUESSED = 0.2  # words less probable are nobody's, whatever else speaks for them
_FASTEST = 40.0  # characters a second; the fastest speakers reach about 25

# What subtitles say where nobody speaks: Koenecke et al., "Careless Whisper", 2024; Baranski et al., "Investigation of Whisper
# ASR Hallucinations Induced by Non-Speech Audio", 2025. People say some of it too, so it is dropped only when it is doubtful.
_PHRASES = frozenset({
    "you", "thank you", "thank you very much", "thank you so much", "thanks for watching", "thank you for watching",
    "thank you for listening", "thanks for listening", "please subscribe", "subscribe", "bye", "bye bye", "goodbye", "the end",
    "im sorry", "so", "oh", "okay", "hmm", "see you next time", "see you in the next video", "music", "applause", "silence",
    "subtitles by the amara org community", "transcription by castingwords",
})  # fmt: skip
_PHRASE_CERTAIN = 0.7
_PHRASE_SPEECH_S = 1.0  # "thank you" takes half a second, and a slip of the detector seldom more than this


def is_believable(text: str, speech_s: float, confidence: float, no_speech: float, compression: float) -> bool:
    """Tell whether somebody said this.

    Args:
        text: of a segment.
        speech_s: seconds of speech that the voice detector found in the window of the segment.
        confidence: mean probability of its words.
        no_speech: probability that there is no speech, as Whisper sees it.
        compression: bytes of the text for each byte of it deflated.
    """
    if not any(letter.isalnum() for letter in text) or compression > _COMPRESSION or confidence < _GUESSED:
        return False
    if no_speech > _NO_SPEECH and confidence < _CERTAIN or len(text) > _FASTEST * max(speech_s, 0.25):
        return False
    doubtful = confidence < _PHRASE_CERTAIN and (speech_s < _PHRASE_SPEECH_S or no_speech > _NO_SPEECH / 2)
    return not (doubtful and _plain(text) in _PHRASES)


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s]", "", text.lower().replace("-", " ").replace(".", " ")).split())
