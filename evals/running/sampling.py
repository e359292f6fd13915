"""Which samples a limited run takes: the same for the same seed, whatever their order and whatever else there is."""

from collections.abc import Sequence
from hashlib import sha256

from evals.task import Sample


def draw(samples: Sequence[Sample], limit: int | None, seed: int, whole_groups: bool = False) -> list[Sample]:
    """At most `limit` samples in their order; a larger limit draws the same ones and more.

    Args:
        samples: with ids that are unique.
        limit: None takes all.
        seed: another seed draws others.
        whole_groups: draw groups instead of samples, until the next one does not fit; the first one is taken in any case.
    """
    if limit is None or limit >= len(samples):
        return list(samples)
    units: dict[str, list[Sample]] = {}
    for sample in samples:
        units.setdefault(sample.group if whole_groups else sample.id, []).append(sample)
    drawn: set[str] = set()
    for key in sorted(units, key=lambda key: sha256(f"{seed}:{key}".encode()).digest()):
        if drawn and len(drawn) + len(units[key]) > limit:
            break
        drawn.update(sample.id for sample in units[key])
    return [sample for sample in samples if sample.id in drawn]
