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
    rrf_k: int = Field(60, ge=1, description="rank constant of reciprocal rank fusion (Cormack et al., 2009)")
    threshold: float = Field(0.5, ge=0, le=1, description="lowest relevance that is worth answering from; 0 answers always")
