"""pyttsx3 in a process of its own, started by espeak.py: a line of text in, "Wrote PATH" of its WAV file out.

Run as a script, so it imports nothing of ours. Reasons for the process: pyttsx3's speech runs in a callback from C, where an
error would leave its loop turning for ever; its drivers for macOS and Windows want the main thread; it prints to standard
output; and libespeak-ng is under the GPL.
"""

import json
import sys
import threading
from itertools import count
from pathlib import Path

_PATIENCE_S = 60


def main(folder: str, voice: str, rate: str) -> None:
    """Speak line by line until standard input ends; with the folder "-" print the voices as JSON."""
    import pyttsx3

    try:
        engine = pyttsx3.init()
    except (RuntimeError, OSError, ImportError) as error:
        sys.exit(f"no engine of speech was found ({' '.join(str(error).split())})")
    voices = {known.id: known for known in engine.getProperty("voices")}
    if folder == "-":
        print(json.dumps([[known.id, known.name, _language(known)] for known in voices.values()]), file=sys.stderr)
        return
    if voice:
        chosen = next((known.id for known in voices.values() if voice.lower() in (known.id.lower(), known.name.lower())), None)
        if chosen is None:
            sys.exit(f"there is no voice called {voice!r}")
        engine.setProperty("voice", chosen)
    engine.setProperty("rate", int(rate))
    finished = threading.Event()
    engine.connect("finished-utterance", lambda name, completed: finished.set())  # the file has been closed by then
    lines = open(0, encoding="utf-8", errors="replace")  # noqa: SIM115, PTH123 - standard input, whatever the locale is
    for number, line in zip(count(), lines, strict=False):
        path = Path(folder, f"{number}.wav")
        path.parent.mkdir(mode=0o700, exist_ok=True)  # temporary folders are tidied away after days
        engine.save_to_file(line.strip(), str(path))
        finished.clear()
        engine.runAndWait()  # one at a time: of two queued sentences, pyttsx3 2.99 writes the last
        if engine.driver_name == "espeak" and not finished.wait(_PATIENCE_S):  # on a busy machine it comes back too early
            sys.exit("pyttsx3 did not finish a sentence")
        print(f"Wrote {path}", file=sys.stderr, flush=True)


def _language(voice: object) -> str:
    languages = getattr(voice, "languages", None) or [""]
    first = languages[0]
    return (first.decode("utf-8", "replace") if isinstance(first, bytes) else str(first)).strip("\x00\x05 ")


if __name__ == "__main__":
    main(*sys.argv[1:4])
