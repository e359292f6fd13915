"""Settings of this layer; assistant/settings.py composes them into the one tree that users edit."""

from pydantic import BaseModel, ConfigDict, Field


class StrictModel(BaseModel):
    """Unknown keys are refused, so that a typing error in a settings file is found at load."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ChunkingSettings(StrictModel):
    """How documents are cut. Sizes are in the embedder's tokens (MiniLM reads 256 at most)."""

    passage_tokens: int = Field(180, ge=40, le=256, description="longest passage")
    section_tokens: int = Field(1000, ge=200, le=4000, description="longest section")


class RetrievalSettings(StrictModel):
    """How passages are found. The relevance weights were fitted by evals/bench/relevance.py (see docs/log.md)."""

    candidates: int = Field(50, ge=5, le=500, description="passages taken from each of dense and BM25 before fusion")
    rrf_k: int = Field(
        60, ge=1, description="rank constant of the passages by which relevance is judged (Cormack et al., 2009)"
    )
    threshold: float = Field(0.5, ge=0, le=1, description="lowest relevance that is worth answering from; 0 answers always")


class EvidenceSettings(StrictModel):
    """What of the course goes into a prompt. Sizes are in tokens, those of the model if its tokenizer is at hand."""

    candidates: int = Field(20, ge=5, le=100, description="passages that sentences are chosen from")
    extra_tokens: int = Field(200, ge=0, le=1000, description="most that other sections may add to the section")
    pruned_tokens: int = Field(290, ge=50, le=2000, description="evidence while the section's state is not there yet")
    clear: float = Field(
        0.9, ge=0, le=1, description="share of the best score in the section that a sentence from elsewhere must reach"
    )
