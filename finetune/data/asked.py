"""Questions that a course answers, with the answer in its own words, made by rule: hundreds in a second, without any model.

A sentence that says what something is, does or is called answers a question about it; so do the sentences below a heading.
knowledge/questions.py makes questions to be searched for, which need no answer; these have one, word for word in a passage.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from knowledge.passage import Passage
from knowledge.sentences import sentence_spans

_PLAIN = re.compile(r"[^\W\d_][^|<>{}\n]*[.!?]")  # no table, no block of code, no item of a list
_WORDS = range(5, 46)  # of a sentence
_LONGEST_ANSWER = 80  # words: what fits into the sizes of assistant/settings.py with room to spare
_NO_SUBJECT = re.compile(
    r"(?:it|its|this|that|these|those|there|they|their|he|she|his|her|we|you|one|another|both|each|most|many|some|such|more|all|no|"
    r"only|here|what|which|how|why|in|for|with|on|at|by|from|after|before|during|because|although|while|since|to|as|if|when|"
    r"without|under|over|among|between|unlike|like|instead|thus|so|then|also|but|and|or|not|common|other|otherwise)\b",
    re.IGNORECASE,
)
_VAGUE = re.compile(
    r"(?:the|an?) (?:usual|main|second|first|third|other|same|next|last|lesson|drawback|result|idea|reason|point|price|cost|"
    r"aim|goal|problem|example|difference|advantage|weakness)(?: \w+)?",
    re.IGNORECASE,
)
_IN_S = re.compile(r"[a-z]{3}(?<![aius])(?<!ic)s$")
_IN_SENTENCE = frozenset({
    "is", "are", "was", "were", "can", "that", "has", "have", "means", "then", "therefore", "also", "not", "but", "first",
    "thus", "often", "usually", "only",
})  # fmt: skip
_S = r"(?P<s>[^\W\d_][^,;:()\"]{1,70}?)"
_DOES = {
    "adds": "add", "allows": "allow", "applies": "apply", "assigns": "assign", "assumes": "assume", "avoids": "avoid",
    "combines": "combine", "compares": "compare", "computes": "compute", "contains": "contain", "counts": "count",
    "creates": "create", "describes": "describe", "divides": "divide", "estimates": "estimate",
    "finds": "find", "gives": "give", "groups": "group", "helps": "help", "keeps": "keep", "learns": "learn", "lets": "let",
    "makes": "make", "maps": "map", "maximises": "maximise", "measures": "measure", "minimises": "minimise", "needs": "need",
    "predicts": "predict", "prevents": "prevent", "produces": "produce", "reduces": "reduce", "removes": "remove",
    "replaces": "replace", "requires": "require", "returns": "return", "says": "say", "scales": "scale", "sets": "set",
    "shows": "show", "splits": "split", "states": "state", "stores": "store", "takes": "take", "tells": "tell",
    "trains": "train", "turns": "turn", "updates": "update", "uses": "use",
}  # fmt: skip
_INTRODUCED = "introduced|proposed|published|invented|developed|described|presented|suggested|formulated|derived"
_IS = "is|are|was|were"
_BE = rf"(?P<be>{_IS})"
_RULES: tuple[tuple[str, re.Pattern[str], tuple[str, ...]], ...] = tuple(
    (how, re.compile(pattern), questions)
    for how, pattern, questions in (
        ("who", rf"{_S} {_BE} (?P<v>{_INTRODUCED}) by .*", ("Who {v} {s}?", "By whom {be} {s} {v}?")),
        ("who", rf"{_S}, (?P<v>{_INTRODUCED}) by [^,]+,.*", ("Who {v} {s}?",)),
        ("when", rf"{_S} {_BE} (?P<v>{_INTRODUCED}) .*\bin \d{{4}}\b.*", ("When {be} {s} {v}?", "In which year {be} {s} {v}?")),
        ("used", rf"{_S} {_BE} used (?:to|for|in|as|when) .*", ("What {be} {s} used for?",)),
        ("called", r"[^,]+ (?:is|are) (?:called|known as) (?P<s>(?:an? |the )?[\w -]{3,40}?)(?:[.,]| and | or ).*",
         ("What is meant by {s}?", "Can you explain the term {s}?")),
        ("how", rf"{_S} (?P<be>can|is|are|must|should)(?P<b> be|) (?P<v>\w+(?:ed|en|t)) by \w+ing .*",
         ("How {be} {s}{b} {v}?",)),
        ("why", rf"{_S} {_BE} (?P<v>[^,;:]{{3,60}}?),? because .*", ("Why {be} {s} {v}?",)),
        ("means", rf"{_S} means .*", ("What does {s} mean?", "What is {s}?")),
        ("what", rf"{_S} {_BE} (?:an?|the|one|any|when|where|how) .*",
         ("What {be} {s}?", "Can you explain what {s} {be}?", "What, according to the course, {be} {s}?")),
        ("many", rf"{_S} has (?:about |roughly |only )?[\d,.]+(?: [mb]illion)? (?P<v>\w+s)\b.*",
         ("How many {v} does {s} have?",)),
        ("does", rf"{_S} (?P<v>{'|'.join(_DOES)}) .*", ("What does {s} do?", "What does {s} {lemma}?")),
        ("do", rf"(?P<s>[A-Z][\w-]+(?: [\w-]+)?s) (?:{'|'.join(_DOES.values())}) .*",
         ("What do {s} do?", "What are {s} good for?")),
    )
)  # fmt: skip
_MISTAKE = re.compile(r"[-*•]\s+[\"“](?P<s>[^\"“”]{15,160}?)[.]?[\"”]\s+(?P<rest>[^\W\d_][^\"“”|`]+[.])")
_ABOUT_HEADING = (
    "Can you explain {s}?",
    "What should I know about {s}?",
    "Tell me about {s}.",
    "What does the course say about {s}?",
)
_ABOUT_LESSON = (
    "What is the lesson {s} about?",
    "What will I learn in the lesson {s}?",
    "Give me an overview of the lesson {s}.",
)
_WHERE = ("Which lesson explains {s}?", "Where in the course can I read about {s}?", "Which lesson should I read for {s}?")
_APPARATUS = re.compile(
    r"(?i)outline|sources|references|further reading|common mistakes|contents|worked example.*|.*\bin python"
)
_MORE = (
    "Can you tell me more about it?",
    "What else should I know about that?",
    "And what follows from that?",
    "Can you go on?",
)


HELP = frozenset({"lesson", "where"})  # rules whose questions ask for the way through the course


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and its answer.

    Attributes:
        answer: one to three whole sentences, verbatim from the passage.
        how: the rule that made it.
        subject: what it asks about, as it stands in the question.
        follows: the question and answer that it follows, in a conversation.
        detail: what it asks for, as it stands in the answer, where that is known.
    """

    question: str
    answer: str
    passage: Passage
    how: str
    subject: str = ""
    follows: "Asked | None" = None
    detail: str = ""

    @property
    def key(self) -> str:
        """The same for questions that differ in case, marks and spaces only."""
        before = f"{self.follows.question} / " if self.follows else ""
        return " ".join(re.findall(r"\w+", (before + self.question).lower()))


def questions_with_answers(passages: Sequence[Passage], seed: int = 0) -> list[Asked]:
    """Every question that the rules can make, each once; the same passages and seed give the same ones.

    Args:
        passages: of the course, those of a document in reading order.
        seed: chooses among wordings.
    """
    random, lower = Random(seed), _lower_words(passages)
    found: dict[str, Asked] = {}
    seen_headings: set[tuple[str, tuple[str, ...]]] = set()
    for passage in passages:
        made: list[Asked] = []
        new_heading = (passage.document_id, passage.heading) not in seen_headings
        seen_headings.add((passage.document_id, passage.heading))
        sentences = plain_sentences(passage)
        if new_heading and len(sentences) > 1:
            made += _of_heading(passage, sentences, random, lower)
        if not _APPARATUS.fullmatch(passage.heading[-1] if passage.heading else ""):
            made += _of_sentences(passage, sentences, random, lower)
        made += _of_mistakes(passage, random, lower)
        for asked in (*made, *_follow_ups(made, sentences, random)):
            found.setdefault(asked.key, asked)
    return list(found.values())


def plain_sentences(passage: Passage) -> list[str]:
    """The sentences of a passage that are neither table, code nor list, white space evened."""
    spaced = (
        " ".join(passage.text[a:b].split()) if "\n\n" not in passage.text[a:b] else "" for a, b in sentence_spans(passage.text)
    )
    return [text for text in spaced if _PLAIN.fullmatch(text) and text.count(" ") + 1 in _WORDS]


def _of_heading(passage: Passage, sentences: Sequence[str], random: Random, lower: frozenset[str]) -> Iterator[Asked]:
    heading = passage.heading[-1] if passage.heading else passage.title
    answer = answer_at(passage, sentences, 0)
    if heading == passage.title:
        wording = random.choice(_ABOUT_LESSON)
        yield Asked(wording.format(s=f"“{heading}”" if random.random() < 0.5 else heading), answer, passage, "lesson", heading)
    elif not _APPARATUS.fullmatch(heading):
        subject = _lowered(heading, lower)
        yield Asked(random.choice(_ABOUT_HEADING).format(s=subject), answer, passage, "heading", subject)
        where = f"The lesson {passage.title} explains {subject}. {sentences[0]}"
        yield Asked(random.choice(_WHERE).format(s=subject), where, passage, "where", subject)


def _of_sentences(passage: Passage, sentences: Sequence[str], random: Random, lower: frozenset[str]) -> Iterator[Asked]:
    for place, sentence in enumerate(sentences):
        for how, pattern, wordings in _RULES:
            found = pattern.fullmatch(sentence)
            if not found or not _names(found["s"]):
                continue
            values = {key: value or "" for key, value in found.groupdict().items()}
            values["s"] = subject = _lowered(found["s"].strip(), lower)
            values["lemma"] = _DOES.get(values.get("v", ""), "do")
            yield Asked(random.choice(wordings).format(**values), answer_at(passage, sentences, place), passage, how, subject)
            if how not in ("who", "when"):
                break


def _of_mistakes(passage: Passage, random: Random, lower: frozenset[str]) -> Iterator[Asked]:
    """A wrong claim that the course itself corrects."""
    for found in _MISTAKE.finditer(passage.text):
        claim, answer = _lowered(found["s"], lower), " ".join(found["rest"].split())
        if answer.count(" ") + 1 in _WORDS:
            wording = random.choice(("Is it true that {s}?", "A friend says that {s}. Is that right?"))
            yield Asked(wording.format(s=claim), answer, passage, "mistake")


def _follow_ups(made: Sequence[Asked], sentences: Sequence[str], random: Random) -> Iterator[Asked]:
    """Questions that hang on the one before: the same subject as a pronoun, or simply more of it."""
    firsts = [asked for asked in made if asked.subject and asked.how not in HELP and asked.how != "heading"]
    for first in firsts:
        for then in firsts:
            if then.answer != first.answer and then.subject == first.subject and then.question != first.question:
                pronoun = "they" if re.search(r"\b(?:are|were|do)\b", then.question) else "it"
                pronoun = "them" if pronoun == "they" and then.question.endswith(f"{then.subject}?") else pronoun
                asked = re.sub(rf"\b{re.escape(then.subject)}(?!\w)", pronoun, then.question)
                if asked != then.question:
                    yield Asked(f"And {asked[0].lower()}{asked[1:]}", then.answer, then.passage, "pronoun", "", first)
        rest = [place for place, sentence in enumerate(sentences) if sentence not in first.answer]
        after = [place for place in rest if place and sentences[place - 1] in first.answer]
        if after:
            yield Asked(random.choice(_MORE), answer_at(first.passage, sentences, after[0]), first.passage, "more", "", first)


def answer_at(passage: Passage, sentences: Sequence[str], place: int) -> str:
    """The sentence at a place and the one behind it, if that follows at once and there is room."""
    answer = sentences[place]
    text = " ".join(passage.text.split())
    for following in sentences[place + 1 : place + 2]:
        joined = f"{answer} {following}"
        if joined in text and joined.count(" ") < _LONGEST_ANSWER:
            answer = joined
    return answer


def _names(subject: str) -> bool:
    """Whether it can stand in a question: neither points elsewhere nor has a verb in it."""
    words = subject.split()
    verb = any(word in _DOES or word in _IN_SENTENCE for word in words[1:])
    # "Post-pruning grows a large tree": a word in -s inside a subject is a verb, unless it is a noun with something behind it.
    neighbours = zip(words[1:], words[2:], strict=False)
    verb |= any(_IN_S.search(word) and then not in ("of", "in", "with") for word, then in neighbours)
    return len(words) <= 7 and not verb and not _NO_SUBJECT.match(subject) and not _VAGUE.fullmatch(subject)


def _lower_words(passages: Sequence[Passage]) -> frozenset[str]:
    """Words that the course writes in lower case somewhere: those are no names."""
    return frozenset(word for passage in passages for word in re.findall(r"\b[^\W\d_A-Z][\w'’-]*", passage.text))


def _lowered(text: str, lower: frozenset[str]) -> str:
    first = re.match(r"[\w'’-]+", text)
    return (
        text[0].lower() + text[1:]
        if first and first[0][1:].islower() | (first[0] == "A") and first[0].lower() in lower
        else text
    )
