"""Markdown of an answer -> words that can be spoken. What cannot be read out is not left out: the listener is told of it."""

import re
from dataclasses import dataclass, field
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

from assistant.events import Evidence, Guarded, Refusal, Sentence, TurnEvent
from assistant.voice.spoken_maths import spoken_formula
from assistant.voice.spoken_words import ORDINALS, spoken_code, spoken_number, spoken_prose
from knowledge.passage import Citation, Passage

_FIRST_HELD = 0xE000  # formulas wait as private characters while Markdown is read
_CODE_OR_MATHS = re.compile(
    r"(?P<code>(?P<fence>`{3,}|~{3,}).*?(?:(?P=fence)|\Z)|(?P<ticks>`+)(?!`).*?(?<!`)(?P=ticks)(?!`))"
    r"|\$\$(?P<display>.+?)\$\$|\\\[(?P<square>.+?)\\\]|\\\((?P<round>.+?)\\\)"
    r"|(?<![\\$\w])\$(?=[^\s$])(?P<dollar>[^$\n]*?[^\s$\\])\$(?![\d\w$])",
    re.DOTALL,
)
_TAGS = re.compile(
    r"</?(?:a|abbr|b|br|center|code|del|div|em|font|hr|i|img|ins|kbd|li|ol|p|small|span|strong|sub|sup|u|ul)\b[^>]*>"
)
_LANGUAGES = {"py": "Python", "python": "Python", "js": "JavaScript", "sh": "shell", "bash": "shell", "cpp": "C plus plus"}
_TABLE_ROW = re.compile(r"\s*\|.*\|\s*")
_ENDED = re.compile(r"[.!?:;…][\"'”’)]*$")


def speakable(markdown: str) -> str:
    """Say what a piece of Markdown says, in words for an engine of speech.

    Formulas, inline code, links, citation marks and tables are put into words; blocks of code are announced.
    """
    held: list[str] = []

    def hold(found: re.Match[str]) -> str:
        if found["code"] is not None:
            return found[0]
        formula = next(text for name in ("display", "square", "round", "dollar") if (text := found[name]) is not None)
        held.append(spoken_formula(formula.strip()))
        return chr(_FIRST_HELD + len(held) - 1)

    text = re.sub("[\ue000-\uf8ff]", "", markdown)
    tokens = _parser().parse(_CODE_OR_MATHS.sub(hold, text))
    words = " ".join(filter(None, _blocks(tokens, held)))
    return re.sub(r"\s+", " ", words).strip()


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"])


def _blocks(tokens: list[Token], held: list[str]) -> list[str]:
    said, ordinal, rows = [], "", -1
    for token in tokens:
        if token.type == "list_item_open" and token.info:
            number = int(token.info)
            ordinal = f"{ORDINALS[number - 1]}: " if 0 < number <= len(ORDINALS) else f"Number {number}: "
        elif token.type == "table_open":
            rows = 0
        elif token.type == "tr_open":
            rows += 1
        elif token.type == "table_close":
            said.append(_table(rows))
            rows = -1
        elif token.type in ("fence", "code_block"):
            said.append(_code_block(token))
        elif token.type == "html_block":
            said.append(_ended(_prose(_TAGS.sub(" ", token.content), held)))
        elif token.type == "inline" and rows < 0:
            if all(_TABLE_ROW.fullmatch(line) for line in token.content.splitlines()):
                said.append(_table(len(token.content.splitlines())))
            else:
                said.append(ordinal + _ended(_inline(token.children or [], held)))
            ordinal = ""
    return said


def _table(rows: int) -> str:
    return f"There is a table on the page{f', {spoken_number(rows)} rows' if rows > 1 else ''}."


def _code_block(token: Token) -> str:
    lines = token.content.rstrip().count("\n") + 1 if token.content.strip() else 0
    words = token.info.split()
    language = f"{_LANGUAGES.get(words[0].lower(), words[0])} " if words else ""
    return f"There is {language}code on the page, {spoken_number(lines)} {'line' if lines == 1 else 'lines'}."


def _inline(children: list[Token], held: list[str]) -> str:
    """The pieces of a paragraph; prose between them is read as one, since an abbreviation may stand beside emphasis."""
    text = ""
    spoken = list(held)
    for at, token in enumerate(children):
        if token.type == "text":
            text += token.content
        elif token.type in ("softbreak", "hardbreak"):
            text += " "
        elif token.type == "code_inline":
            text += _hold(_code(token.content, text, children[at + 1 : at + 2]), spoken)
        elif token.type == "image":
            alt = f": {_prose(token.content, held)}" if token.content else ""
            text += _hold(f"a picture that is on the page{alt}", spoken)
        elif token.type == "html_inline":
            text += " " if _TAGS.fullmatch(token.content) else _hold(spoken_code(token.content), spoken)
    return _prose(text, spoken)


def _hold(words: str, held: list[str]) -> str:
    held.append(words)
    return chr(_FIRST_HELD + len(held) - 1)


def _code(code: str, before: str, after: list[Token]) -> str:
    """Inline code; "the function" is not said twice where the sentence says it."""
    words = spoken_code(code)
    named = re.search(r"\b(?:function|method|call)\s*$", before, re.IGNORECASE)
    called = after and re.match(r"\s*(?:function|method)\b", after[0].content)
    if named or called:
        words = words.removeprefix("the function ")
    elif re.search(r"\b(?:the|a|an|this|that)\s+$", before, re.IGNORECASE):
        words = words.removeprefix("the ")
    return words


def _prose(text: str, held: list[str]) -> str:
    """Plain text with private characters for what has been put into words already."""
    pieces = re.split("([\ue000-\uf8ff])", text)
    said = ""
    for piece in pieces:
        if len(piece) == 1 and 0 <= ord(piece) - _FIRST_HELD < len(held):
            said += held[ord(piece) - _FIRST_HELD]
        elif words := spoken_prose(piece):
            lead = " " if piece[:1].isspace() or (said and words[0].isalnum()) else ""
            said += lead + words + (" " if piece[-1:].isspace() else "")
    return said.strip()


def _ended(words: str) -> str:
    """A pause after every block: a full stop, where nothing else ends it."""
    if not re.search(r"\w", words):
        return ""
    return words if _ENDED.search(words) else f"{words.rstrip(',- ')}."


@dataclass(slots=True)
class SpokenAnswer:
    """One answer, spoken event by event; knows which sources the listener has been told the titles of.

    While the model reads and writes, the listener hears where the answer is looked for, so that a question is not met with
    seconds of silence; it is true even if no answer is found there.

    Attributes:
        named: numbers of the sources that have been said.
    """

    named: set[int] = field(default_factory=set)
    _title: str = ""  # said last
    _in_table: bool = False

    def words(self, event: TurnEvent) -> str:
        """What to say of an event, empty for those that only the page shows."""
        match event:
            case Guarded():
                return " ".join(_ended(speakable(warning)) for warning in event.warnings)
            case Evidence(passages=(best, *_)):
                self._title = _title(best.passage)
                return f"Looking in {'the ' if self._title.startswith('lesson on ') else ''}{self._title}."
            case Sentence():
                return self._sentence(event)
            case Refusal():
                near = [_ended(speakable(topic)).rstrip(".") for topic in event.suggestions]
                topics = f" The nearest topics that it does cover: {_listed(near)}." if near else ""
                return _ended(speakable(event.reason)) + topics
            case _:
                return ""

    def _sentence(self, sentence: Sentence) -> str:
        row = all(map(_TABLE_ROW.fullmatch, sentence.text.splitlines()))  # each row of a table comes as a sentence
        known, self._in_table = self._in_table and row, row
        words = "" if known else speakable((sentence.lead + sentence.text).strip())
        return f"{words} {self._sources(sentence.citations, known)}".strip()

    def _sources(self, citations: tuple[Citation, ...], only_new: bool) -> str:
        """First "Source two, lesson on LoRA.", from then on "Source two."; or those only that are new.

        A source of the document that was named last needs no title.
        """
        said = []
        for number, citation in {citation.number: citation for citation in citations}.items():
            title = _title(citation.passage)
            if number not in self.named and title != self._title:
                said.append(f"source {spoken_number(number)}, {title}")
                self._title = title
            elif number not in self.named or not only_new:
                said.append(f"source {spoken_number(number)}")
            self.named.add(number)
        words = "; ".join(said)
        return f"{words[0].upper()}{words[1:]}." if words else ""


def _title(passage: Passage) -> str:
    """What a document is called; of a lesson without what stands behind a colon, since it is said while somebody waits."""
    if passage.source.startswith("course/"):
        return f"lesson on {spoken_prose(passage.title.partition(':')[0]).rstrip('.?! ')}"
    return spoken_prose(passage.title).rstrip(".?! ")


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
