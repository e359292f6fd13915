"""What the one who adds a file should look at: text that its readers do not see, and text that speaks to the assistant."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from knowledge.loaders.builder import pretty
from knowledge.loaders.recording import UNCLEAR
from knowledge.passage import Document, Passage, Section

Inspect = Callable[[str], Sequence[tuple[int, int]]]  # where a text speaks to the assistant instead of the reader

_SHOWN = 160  # characters of what a suspect says


@dataclass(frozen=True, slots=True)
class Suspect:
    """What the one who added a file should look at.

    Attributes:
        path: the file.
        what: "hidden text left out", "speech left out" or "instructions to the assistant".
        places: how many there are.
        first: the words of the first one; instructions go before anything else.
        where: why it is not seen, or where it stands.
    """

    path: str
    what: str
    places: int
    first: str
    where: str

    def __str__(self) -> str:
        """One line without Markdown or control characters of the file's own."""
        words = "".join(char for char in self.first if char.isprintable() and char not in "`<>[]")
        shown = words if len(words) <= _SHOWN else f"{words[:_SHOWN]}\u2026"
        places = "1 place" if self.places == 1 else f"{self.places} places, first"
        return f'{self.what}: {places}: "{shown}" ({self.where})'


def suspects(path: str, document: Document, passages: Sequence[Passage], inspect: Inspect) -> Iterator[Suspect]:
    """What is hidden in a file, and what in it speaks to the assistant; usual hidden text counts only if it does that."""
    unclear = [hidden for hidden in document.hidden if hidden.how.startswith(UNCLEAR)]
    unseen = [hidden for hidden in document.hidden if not hidden.how.startswith(UNCLEAR)]
    if unclear:
        yield Suspect(path, "speech left out", len(unclear), unclear[0].text, unclear[0].how)
    planted = [hidden for hidden in unseen if inspect(hidden.text)]
    hidden = planted + [hidden for hidden in unseen if not hidden.usual and hidden not in planted]
    if hidden:
        page = f", page {hidden[0].page}" if hidden[0].page else ""
        speaks = ", speaks to the assistant" if planted else ""
        yield Suspect(path, "hidden text left out", len(hidden), hidden[0].text, f"{hidden[0].how}{page}{speaks}")
    places = [("in the name of the file", name)] if inspect(name := pretty(Path(path).stem)) else []
    headings = dict.fromkeys(heading for passage in passages for heading in passage.heading)
    places += [("a heading", heading) for heading in headings if inspect(heading)]
    for passage in passages:
        where = f"page {passage.page}" if passage.page else " > ".join(passage.heading) or document.title
        places += [(where, passage.text[start:end]) for start, end in inspect(passage.text)]
    if places:
        yield Suspect(path, "instructions to the assistant", len(places), " ".join(places[0][1].split()), places[0][0])


def without_planted_headings(
    sections: list[Section], passages: list[Passage], inspect: Inspect
) -> tuple[list[Section], list[Passage]]:
    """Take away headings that speak to the assistant: they stand above every prompt about their section."""
    headings = {heading for passage in passages for heading in passage.heading}
    planted = {heading for heading in headings if inspect(heading)}
    if not planted:
        return sections, passages

    def cleared(heading: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(part for part in heading if part not in planted)

    return (
        [replace(section, heading=cleared(section.heading)) for section in sections],
        [replace(passage, heading=cleared(passage.heading)) for passage in passages],
    )
