"""Every row of a course, balanced, split by lesson, clean of what tests ask, and put on disk in one go."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from finetune.data.asked import HELP, Asked, plain_sentences, questions_with_answers
from finetune.data.decontaminate import Cases, asks_a_case, says_a_case
from finetune.data.grounded import Made, answered, contradicted, removed
from finetune.data.pairs import of_rules, of_samples
from finetune.data.production import Production, Scene
from finetune.data.samples import Sampler
from finetune.data.written import written_questions
from finetune.rows import Pair
from knowledge.errors import CourseError
from knowledge.sentences import sentence_spans

# About the shares of RAFT and Finetune-RAG; at most a quarter is declined, or a small model learns to decline always.
SHARES = {"oracle": 0.45, "removed": 0.25, "contradicted": 0.10, "follow_up": 0.12, "plain": 0.08}
# Of the questions of one style, such as those that begin with "who", so many are declined for each one that is answered: where
# they were more, the style alone told the model to decline (docs/log.md).
_DECLINED_FOR_EACH = 0.5
_KINDS_OF = {"other": ("oracle", "removed", "contradicted"), "follow_up": ("follow_up",), "plain": ("plain",)}
_BATCH = 32  # questions that are embedded together
_SAME_SENTENCE = 2  # questions that may have the same first sentence as their answer

Tell = Callable[[str, int, int], None]  # what is being done, how much of it, of how much


@dataclass(frozen=True, slots=True)
class Wanted:
    """How much to make, and how.

    Attributes:
        rows: to train on answers with, at most.
        questions: sentences about which the chat model writes one; needs one.
        answers: rows that the chat model answers in its own words; needs one.
        pairs: of preference, at most; half of them refuse.
        samples: prompts whose answers are sampled from the served model; needs one.
        seed: the same course, settings and seed give the same rows.
        held: share of the lessons that is kept from training, 0 to 1.
        sections: share of the prompts that have a whole section, 0 to 1; the rest has the best sentences, a quarter as long.
        data: folder of public test sets.
    """

    rows: int = 500
    questions: int = 0
    answers: int = 0
    pairs: int = 200
    samples: int = 0
    seed: int = 0
    held: float = 0.33
    sections: float = 0.2
    data: Path | None = None


@dataclass(slots=True)
class Course:
    """What is known of the course while rows are made.

    Attributes:
        sentences: plain ones, by source.
        held: sources of the lessons that are kept from training.
    """

    production: Production
    sentences: dict[str, list[str]]
    held: frozenset[str]
    random: Random
    wanted: Wanted
    left_out: Counter[str] = field(default_factory=Counter)

    def scene(self, asked: Asked) -> Scene:
        """Held-out lessons stand in no prompt that is trained on."""
        lessons = frozenset[str]() if asked.passage.source in self.held else self.held
        return Scene(cold=self.random.random() >= self.wanted.sections, lessons=lessons)


def held_lessons(sources: Iterable[str], seed: int, share: float) -> frozenset[str]:
    """The lessons that are kept from training: fixed by seed, and at least one of two."""
    ordered = sorted(set(sources))
    count = max(1, round(share * len(ordered))) if share > 0 and len(ordered) > 1 else 0
    return frozenset(Random(seed).sample(ordered, count))


def open_course(
    production: Production, cases: Cases, wanted: Wanted, sampler: Sampler | None = None, tell: Tell = lambda *_: None
) -> tuple[Course, list[Asked]]:
    """The course and its questions, without those that tests ask.

    Args:
        production: the chain.
        cases: of evals/.
        wanted: how much to make.
        sampler: of the chat model that writes questions, if some are wanted.
        tell: is called after each of these.

    Raises:
        CourseError: the course is empty, or has too few whole sentences.
    """
    passages = production.index.catalogue.all_passages()
    if not passages:
        raise CourseError("The course is empty.", "Add material: lectern ingest --starter, or lectern ingest PATH...")
    sentences: dict[str, list[str]] = defaultdict(list)
    for passage in passages:
        sentences[passage.source] += plain_sentences(passage)
    held = held_lessons((passage.source for passage in passages), wanted.seed, wanted.held)
    course = Course(production, dict(sentences), held, Random(wanted.seed), wanted)
    asked, done = [], 0

    def told() -> None:
        nonlocal done
        done += 1
        tell("Questions", done, wanted.questions)

    made = questions_with_answers(passages, wanted.seed)
    if sampler and wanted.questions:

        def usable(answer: str) -> bool:
            return not says_a_case([answer, *_sentences(answer)], cases)

        made += written_questions(passages, usable, sampler, production.embedder, wanted.questions, wanted.seed, told)
    for each in made:
        if asks_a_case(each.question, cases):
            course.left_out["asks what a case of evals/cases asks"] += 1
        elif says_a_case([each.answer, *_sentences(each.answer)], cases):
            course.left_out["says what a case of evals/cases rests on"] += 1
        else:
            asked.append(each)
    if not asked:
        raise CourseError("No question could be made from this course.", "Add material in whole sentences.")
    return course, asked


def make_rows(course: Course, asked: Sequence[Asked], skip: frozenset[str], tell: Tell) -> list[Made]:
    """Rows of every kind, up to the wanted number of each.

    Args:
        course: as `open_course` gives it.
        asked: its questions.
        skip: ids of rows that were rejected.
        tell: is called after each question.
    """
    quota = {kind: round(share * course.wanted.rows) for kind, share in SHARES.items()}
    total, made, shown, declined = sum(quota.values()), list[Made](), Counter[str](), Counter[str]()

    def wants(kind: str, style: str) -> bool:
        return quota[kind] > 0 and (kind != "removed" or declined[style] + 1 <= _DECLINED_FOR_EACH * shown[style])

    def keep(one: Made | None) -> None:
        if one is not None and one.row.id not in skip and wants(one.row.kind, one.asked.how):
            (declined if one.row.kind == "removed" else shown)[one.asked.how] += 1
            quota[one.row.kind] -= 1
            made.append(one)
            tell("Rows", len(made), total)

    for sort, kinds in _KINDS_OF.items():
        for each in _spread(course, [each for each in asked if _sort(each) == sort]):
            if not any(quota[kind] for kind in kinds):
                break
            for one in _variants(course, each, kinds, wants):
                keep(one)
    return made


def _variants(course: Course, asked: Asked, kinds: Sequence[str], wants: Callable[[str, str], bool]) -> Iterator[Made | None]:
    """The question answered, and the same with the answer gone or contradicted where such rows are still wanted."""
    first = answered(course.production, asked, course.scene(asked))
    if first is None:
        course.left_out["the chain would not show the answer, or the model would not read what supports it"] += 1
        return
    yield first
    if "removed" in kinds and wants("removed", asked.how):
        yield removed(course.production, first)
    if "contradicted" in kinds and wants("contradicted", asked.how) and course.random.random() < 0.5:
        yield contradicted(course.production, first, course.sentences[asked.passage.source], course.random)


def make_pairs(
    course: Course, made: Sequence[Made], sampler: Sampler | None, name: str, skip: frozenset[str], tell: Tell
) -> list[Pair]:
    """Preference pairs about the rows, as many that answer as that decline.

    Args:
        course: as `open_course` gives it.
        made: the rows.
        sampler: of the served model; None makes pairs by rule alone.
        name: of the model that is sampled.
        skip: ids of pairs that were rejected.
        tell: is called after each sample and each pair.
    """
    most = course.wanted.pairs // 2
    sides = {
        sort: [one for one in made if (one.row.kind == "removed") == (sort == "refusal")] for sort in ("answer", "refusal")
    }
    found: dict[str, dict[str, Pair]] = {sort: {} for sort in sides}
    budget = dict.fromkeys(sides, course.wanted.samples // 2 if sampler else 0)
    done, samples = 0, sum(min(budget[sort], len(rows)) for sort, rows in sides.items()) * 4

    def told() -> None:
        nonlocal done
        done += 1
        tell("Samples", done, samples)

    for sort, rows in sides.items():
        course.random.shuffle(rows)
        for number, one in enumerate(rows):
            if len(found[sort]) >= most:
                break
            pair = None
            if sampler and number < budget[sort]:
                pair = of_samples(course.production, one, sampler.texts(one.row.prompt, told), name)
            pair = pair or of_rules(course.production, one, course.sentences[one.asked.passage.source], course.random)
            if pair and pair.id not in skip:
                found[sort][pair.id] = pair
            tell("Pairs", sum(map(len, found.values())), 2 * most)
    equal = min(map(len, found.values()))
    return [pair for pairs in found.values() for pair in list(pairs.values())[:equal]]


def _spread(course: Course, asked: Sequence[Asked]) -> Iterator[Asked]:
    """In random order, one of each lesson in turn; questions about the same sentence seldom, and embedded in batches."""
    by_lesson: dict[str, list[Asked]] = defaultdict(list)
    for each in asked:
        by_lesson[each.passage.source].append(each)
    for questions in by_lesson.values():
        course.random.shuffle(questions)
    order, used = list[Asked](), Counter[str]()
    while any(by_lesson.values()):
        for questions in by_lesson.values():
            if questions:
                each = questions.pop()
                first = _sentences(each.answer)[0]
                used[first] += 1
                if used[first] <= _SAME_SENTENCE:
                    order.append(each)
    for start in range(0, len(order), _BATCH):
        batch = order[start : start + _BATCH]
        before = [each.follows.question for each in batch if each.follows]
        together = [f"{each.follows.question} {each.question}" for each in batch if each.follows]
        course.production.embedder.embed([*(each.question for each in batch if not each.follows), *before, *together])
        yield from batch


def _sort(asked: Asked) -> str:
    return "follow_up" if asked.follows else "plain" if asked.how in HELP else "other"


def _sentences(answer: str) -> list[str]:
    return [answer[start:end] for start, end in sentence_spans(answer)]
