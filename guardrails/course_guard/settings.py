"""Settings of this layer; assistant/settings.py composes them into the one tree that users edit."""

from pydantic import Field

from knowledge.settings import StrictModel


class GroundingSettings(StrictModel):
    """When a sentence counts as supported."""

    verifier: str = Field("overlap", description="what checks: overlap, reread, trained, nli:FOLDER or openai:URL#MODEL")
    threshold: float | None = Field(
        None, ge=0, le=1, description="lowest support at which a sentence is shown; unset takes the verifier's own"
    )
    second_citation: float = Field(
        0.15, ge=0, le=1, description="how much more of the sentence a second passage must cover to be cited too"
    )
