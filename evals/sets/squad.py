"""SQuAD 2.0 (Rajpurkar, Jia and Liang, 2018): questions about a paragraph, half of which it does not answer.

Source: github.com/chrischute/squad, data/dev-v2.0.json: about half of the official dev set, 6,078 questions on 16 articles,
3,168 of them unanswerable. Licence class: share-alike (CC BY-SA 4.0); for measuring only. Splits: halves by the hash of the
article's title, since questions about one article share its paragraphs.
"""

from collections.abc import Iterator
from pathlib import Path

from evals.sets.json_file import read_object
from evals.task import Sample, split_of


def read(folder: Path) -> Iterator[Sample]:
    """Each question with its paragraph as the only passage; the target has answerable (0 or 1) and gold, accepted wordings."""
    for article in read_object(folder / "dev-v2.0.json").inner("data"):
        title = article.text("title")
        for paragraph in article.inner("paragraphs"):
            passages = [paragraph.text("context")]
            for asked in paragraph.inner("qas"):
                gold = list(dict.fromkeys(answer.text("text") for answer in asked.inner("answers")))
                answerable = not asked.get("is_impossible", bool)
                yield Sample(
                    asked.text("id"),
                    {"question": asked.text("question").strip(), "passages": passages},
                    {"answerable": int(answerable), "gold": gold},
                    title,
                    split_of(title),
                )
