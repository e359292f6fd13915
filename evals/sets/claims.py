"""The common form of every set that tells whether a text supports sentences: what judges are measured on."""

from collections.abc import Sequence

from evals.task import Sample, Split, split_of


def claims_sample(
    id: str,
    passages: Sequence[str],
    sentences: Sequence[str],
    unsupported: Sequence[bool],
    group: str,
    *,
    part: str,
    question: str = "",
    split: Split | None = None,
) -> Sample:
    """Sentences of one answer, with the texts that should support them and what people found.

    Args:
        id: unique within the set.
        passages: the texts; together they support a sentence or do not.
        sentences: of one answer, or a single claim.
        unsupported: for each sentence, whether people say that the texts do not support it.
        group: what samples share that are not independent, such as their source document.
        part: what figures are broken down by, such as the model that wrote the answer.
        question: what the sentences answer, if anything.
        split: as its publisher drew it; else by the hash of the group.

    Returns:
        A sample whose input has question, passages and sentences, and whose target has unsupported (0 or 1 each) and part.
    """
    if len(sentences) != len(unsupported):
        raise ValueError(f"{id}: {len(sentences)} sentences, {len(unsupported)} labels")
    return Sample(
        id=id,
        input={"question": question, "passages": list(passages), "sentences": list(sentences)},
        target={"unsupported": [int(label) for label in unsupported], "part": part},
        group=group,
        split=split or split_of(group),
    )
