"""Questions that the chat model writes about sentences of the course, since people do not ask as rules do.

A rule's question names what its sentence begins with. Whoever asks for a year or a name uses other words, and a model that has
seen rules only declines there (docs/log.md). A question is kept only if the sentence is what the search finds nearest to it in
its passage (round trip: Alberti et al. 2019, arXiv 1906.05416) and says something that the question does not. No time is spent
on sentences that tests rest on.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from random import Random

import numpy as np

from finetune.data.asked import Asked, answer_at, plain_sentences
from finetune.data.samples import Sampler
from finetune.rows import Message
from knowledge.embedding import Embedder
from knowledge.lexical import terms
from knowledge.passage import Passage

WRITTEN = "written"
_RULES = (
    "You write short questions for students. You get a sentence of their course and a part of it. Write one question to which "
    "this part is the answer. Do not say the answer. Name the subject, so that the question can be understood by itself. Use "
    "your own words. Write the question only."
)
_EXAMPLES = (
    (
        "The Haber process, which Fritz Haber presented in 1909, makes ammonia from nitrogen and hydrogen.",
        "1909",
        "In which year was the process for making ammonia shown?",
    ),
    (
        "Tides rise twice a day, because the Earth turns below two bulges of water.",
        "because the Earth turns below two bulges of water",
        "What is the reason that high tide comes two times a day?",
    ),
    (
        "The mathematician Emmy Noether linked every symmetry of a system to a conserved quantity.",
        "Emmy Noether",
        "Who found that symmetries and conserved quantities belong together?",
    ),
)
_DETAILS = (  # what people ask after: causes, names, numbers
    re.compile(r"\b(?:because|so that|in order to) [^.;:]{12,80}(?=[.;,])"),
    re.compile(r"(?<=[a-z,(] )[A-Z][\w-]+(?: [A-Z][\w-]+)*"),
    re.compile(r"(?<![\w.])\d[\d,.]*\d(?:%| per cent| million| billion)?|(?<=[a-z] )\d(?= [a-z])"),
)
_LONGEST = 60  # tokens
_WORDS = range(5, 26)  # of a question
_OPEN = re.compile(r"(?i)\b(?:what|which|who|whom|whose|when|where|why|how)\b")  # no question that "yes" would answer
_POINTS = re.compile(r"(?i)\b(?:sentence|passage|text|above|following|mentioned|lesson|block|this|these|it|they)\b")


def written_questions(
    passages: Sequence[Passage],
    usable: Callable[[str], bool],
    sampler: Sampler,
    embedder: Embedder,
    count: int,
    seed: int,
    tell: Callable[[], None],
) -> Iterator[Asked]:
    """One question for each of up to `count` sentences, spread over the lessons; fewer, as not every question is kept.

    Args:
        passages: of the course.
        usable: whether a row may have this answer.
        sampler: of the chat model; what it has written before is not written again.
        embedder: of the index.
        count: of sentences.
        seed: chooses them.
        tell: is called after each.

    Raises:
        CourseError: the disk is full.
    """
    for passage, sentences, place in _chosen(passages, usable, count, seed):
        sentence, longer = sentences[place], answer_at(passage, sentences, place)
        detail = _detail(sentence)
        question = " ".join(sampler.text(_prompt(sentence, detail), _LONGEST).split())
        tell()
        if _fits(question, sentence) and _nearest(question, sentences, embedder) == place:
            yield Asked(question, longer if usable(longer) else sentence, passage, WRITTEN, detail=detail)


def _chosen(
    passages: Sequence[Passage], usable: Callable[[str], bool], count: int, seed: int
) -> Iterator[tuple[Passage, list[str], int]]:
    """Usable sentences in random order, one of each lesson in turn."""
    random, by_lesson = Random(seed), defaultdict[str, list[tuple[Passage, list[str], int]]](list)
    for passage in passages:
        sentences = plain_sentences(passage)
        by_lesson[passage.source] += [(passage, sentences, place) for place, each in enumerate(sentences) if usable(each)]
    for queue in by_lesson.values():
        random.shuffle(queue)
    found = 0
    while any(by_lesson.values()):
        for queue in by_lesson.values():
            if queue and found < count:
                found += 1
                yield queue.pop()
        if found >= count:
            return


def _detail(sentence: str) -> str:
    """What the question should ask for: a cause, a name or a number of the sentence, else its second half."""
    for pattern in _DETAILS:
        if found := pattern.search(sentence):
            return found[0]
    words = sentence.rstrip(".!?").split()
    return " ".join(words[len(words) // 2 :])


def _prompt(sentence: str, detail: str) -> tuple[Message, ...]:
    turns = [{"role": "system", "content": _RULES}]
    for example, part, question in _EXAMPLES:
        turns += [{"role": "user", "content": f"{example}\nThe answer: {part}"}, {"role": "assistant", "content": question}]
    return (*turns, {"role": "user", "content": f"{sentence}\nThe answer: {detail}"})


def _fits(question: str, sentence: str) -> bool:
    """Whether it is one question that stands by itself, is about the sentence, and leaves it something to say."""
    asked, said = set(terms(question)), set(terms(sentence))
    whole = question.endswith("?") and question.count("?") == 1 and question.count(" ") + 1 in _WORDS
    clear = _OPEN.search(question) and not _POINTS.search(question)
    return bool(whole and clear and asked & said) and len(said - asked) >= 2


def _nearest(question: str, sentences: Sequence[str], embedder: Embedder) -> int:
    vectors = np.asarray(embedder.embed([question, *sentences]))
    return int(np.argmax(vectors[1:] @ vectors[0]))
