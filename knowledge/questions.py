"""Questions that a course answers, made from its own sentences by rule: a chat model would take hours for what this does in a
second.

They are not good questions. They are there to be searched for: with the passages that know their subject, and without them.
A subject is a phrase that stands in few passages but recurs within a document, as words do that a document is about (Church and
Gale, 1995); rules turn a sentence with subjects into a question.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cache
from itertools import islice
from random import Random

from knowledge.lexical import terms
from knowledge.passage import Passage
from knowledge.sentences import sentence_spans

_WORD = re.compile(r"[^\W_]+(?:[-'’.][^\W_]+)*")
_PLAIN = re.compile(r"[^\W\d_][^|`=<>{}\n]*[.!?]")  # no table, code or formula
_WORDS = range(6, 41)  # of a sentence worth asking about
_LONGEST_PHRASE = 3  # words
_RECURS = 3  # sentences of one document that a subject stands in at least; a heading counts as so many
_COMMONEST = 0.05  # of passages: a term that stands in more of them is no subject of its own
_BECAUSE = re.compile(
    r"(?P<subject>[^\W\d_][\w' -]{2,60}?) (?P<verb>is|are|was|were|can|cannot|must|should) (?P<rest>[^,;:]{3,80}?),? because "
)
_MOST_READ = 4000  # passages: more of them give no better questions

_ABOUT_TWO = (
    "How does {x} relate to {y}?",
    "What does {x} have to do with {y}?",
    "What part does {y} play in {x}?",
    "Why does {x} matter for {y}?",
    "What happens to {y} because of {x}?",
    "Does {x} make any difference to {y}?",
)
_KINDS = ("two", "echo", "keywords", "reason", "two", "echo")

_Phrase = tuple[tuple[str, ...], int, int]  # stems, start, end

# Asked of every course and answered by next to none.
FAR = (
    "Where can I park near the lecture hall?",
    "Is there a canteen that serves vegan lunch on Fridays?",
    "How do I get a refund for a cancelled train ticket?",
    "Which football club has the most trophies?",
    "How long should I boil an egg?",
    "what is the weather going to be tomorrow",
    "Can you recommend a hotel in Lisbon?",
    "How do I reset the password of my email account?",
    "Who sings the song that was at the top of the charts last summer?",
    "Will the resit be harder than the first exam?",
    "How many points do I need to pass?",
    "What is the cheapest phone contract for students?",
    "How do I remove red wine from a carpet?",
    "Which vaccine do I need for a trip to Kenya?",
    "Tell me a joke about cats.",
    "When does daylight saving time end?",
    "How do I change the tyre of a bicycle?",
    "What should I give my sister for her birthday?",
    "Can my dog eat grapes?",
    "How much tax do I pay on a second job?",
)


@dataclass(frozen=True, slots=True)
class Question:
    """A made question.

    Attributes:
        text: as a student might type it.
        subject: stemmed terms of what it is about; a passage that has all of them knows the subject.
        passage_id: of the passage that it was made from.
        kind: the rule that made it.
    """

    text: str
    subject: frozenset[str]
    passage_id: str
    kind: str


def questions_from(passages: Sequence[Passage], count: int, seed: int = 0) -> list[Question]:
    """Up to `count` questions, spread over the documents, each text once; fewer if the course has too few plain sentences.

    Args:
        passages: of the course.
        count: how many are wanted.
        seed: the same passages and seed give the same questions.
    """
    random = Random(seed)
    if len(passages) > _MOST_READ:
        passages = sorted(random.sample(passages, _MOST_READ), key=lambda passage: passage.id)
    found = _by_kind(passages, random)
    queues = {kind: _spread(items, random) for kind, items in found.items()}
    chosen: dict[str, Question] = {}
    while len(chosen) < count and queues:
        for kind in _KINDS:
            if kind in queues:
                question = next(queues[kind], None)
                if question is None:
                    del queues[kind]
                else:
                    chosen.setdefault(question.text.lower(), question)
    return list(islice(chosen.values(), count))


def _by_kind(passages: Sequence[Passage], random: Random) -> Mapping[str, list[tuple[str, Question]]]:
    """Every question that the rules can make, with its document, by kind."""
    sentences = [(passage, sentence) for passage in passages for sentence in _plain_sentences(passage)]
    phrases = [list(_phrases(sentence)) for _, sentence in sentences]
    recurring = _recurring(sentences, phrases)
    frequency = Counter(term for passage in passages for term in set(terms(passage.searchable)))
    commonest = max(3.0, _COMMONEST * len(passages))
    found: dict[str, list[tuple[str, Question]]] = defaultdict(list)
    for (passage, sentence), candidates in zip(sentences, phrases, strict=True):
        subjects = _subjects(candidates, recurring, frequency, commonest)
        if subjects:
            for kind, text, subject in _made(sentence, subjects, random):
                found[kind].append((passage.document_id, Question(text, frozenset(subject), passage.id, kind)))
    return found


def _recurring(sentences: Sequence[tuple[Passage, str]], phrases: Sequence[Sequence[_Phrase]]) -> set[tuple[str, ...]]:
    """Stems of the phrases that some document is about."""
    counts: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for (passage, _), found in zip(sentences, phrases, strict=True):
        counts.update((passage.document_id, key) for key in {key for key, _, _ in found})
    named = {key for title in {name for passage, _ in sentences for name in passage.heading} for key, _, _ in _phrases(title)}
    return named | {key for (_, key), count in counts.items() if count >= _RECURS}


def _plain_sentences(passage: Passage) -> Iterator[str]:
    for start, end in sentence_spans(passage.text):
        sentence = " ".join(passage.text[start:end].split())
        if _PLAIN.fullmatch(sentence) and sentence.count(" ") + 1 in _WORDS:
            yield sentence


def _phrases(sentence: str) -> Iterator[_Phrase]:
    """Runs of up to three neighbouring content words: (stems, start, end)."""
    words = [(found.start(), found.end(), _stems(found[0])) for found in _WORD.finditer(sentence)]
    for first in range(len(words)):
        stems: tuple[str, ...] = ()
        for last in range(first, min(len(words), first + _LONGEST_PHRASE)):
            start, end, own = words[last]
            if not own or (last > first and sentence[words[last - 1][1] : start] != " "):
                break
            stems += own
            yield stems, words[first][0], end


@cache
def _stems(word: str) -> tuple[str, ...]:
    return tuple(terms(word))


def _subjects(
    candidates: Sequence[_Phrase],
    recurring: Set[tuple[str, ...]],
    frequency: Mapping[str, int],
    commonest: float,
) -> list[_Phrase]:
    """The phrases of a sentence that recur and are about something, the most special first; they do not overlap."""
    rarest = {key: min(frequency[term] for term in key) for key, _, _ in candidates}
    candidates = [item for item in candidates if not all(term.isdigit() for term in item[0])]
    worth = [item for item in candidates if item[0] in recurring and rarest[item[0]] <= commonest]
    chosen: list[_Phrase] = []
    for item in sorted(worth, key=lambda item: (-len(item[0]), rarest[item[0]])):
        if all((item[2] <= other[1] or other[2] <= item[1]) and item[0] != other[0] for other in chosen):
            chosen.append(item)
    return sorted(chosen, key=lambda item: rarest[item[0]])


def _made(sentence: str, subjects: Sequence[_Phrase], random: Random) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """What the rules make of one sentence: (kind, text, subject)."""
    (subject, start, end), *others = subjects
    x = sentence[start:end]
    if others:
        _, start, end = random.choice(others)
        yield "two", random.choice(_ABOUT_TWO).format(x=x, y=sentence[start:end]), subject
        named = sorted(subjects, key=lambda item: item[1])
        yield "keywords", " ".join(sentence[a:b] for _, a, b in named[:4]).lower(), subject
    if because := _BECAUSE.match(sentence):
        asked = f"{because['subject'][0].lower()}{because['subject'][1:]} {because['rest']}"
        if set(subject) <= set(terms(asked)):
            yield "reason", f"Why {because['verb']} {asked}?", subject
    words = sentence.rstrip(".!?").split()
    kept = " ".join(words[: max(4, round(len(words) * 0.6))]).rstrip(",;:")
    if set(subject) <= set(terms(kept)):
        yield "echo", f"{kept} what?", subject


def _spread(items: Sequence[tuple[str, Question]], random: Random) -> Iterator[Question]:
    """In random order, one of each document in turn."""
    by_document: dict[str, list[Question]] = defaultdict(list)
    for document, question in items:
        by_document[document].append(question)
    queues = list(by_document.values())
    for queue in queues:
        random.shuffle(queue)
    random.shuffle(queues)
    while queues:
        for queue in queues:
            yield queue.pop()
        queues = [queue for queue in queues if queue]
