"""Every setting of Lectern in one typed tree: defaults, then lectern.toml, then LECTERN_* environment variables.

A nested setting is written with two underscores in the environment, for example LECTERN_ANSWER__SOURCES=3. Unknown keys are
refused. This is the only place that reads a settings file; everything below takes values as arguments.
"""

import os
import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from course_guard.library import defer_iri_grammar
from course_guard.settings import GroundingSettings
from knowledge.errors import CourseError
from knowledge.settings import ChunkingSettings, EvidenceSettings, RetrievalSettings, StrictModel


class ModelSettings(StrictModel):
    """The chat model. Sizes are in tokens."""

    name: str = Field(
        "qwen2.5-coder-1.5b-instruct-q4_k_m",
        description="a name of `lectern models list`, a .gguf file, hf:FOLDER (transformers) or openai:URL#MODEL (a server)",
    )
    adapter: str = Field("promoted", description="promoted, none, or one of `lectern finetune list`")
    context: int = Field(4096, ge=1024, le=32768, description="longest prompt and answer together")
    threads: int = Field(0, ge=0, le=256, description="0 takes every core that this process may use")


class EngineSettings(StrictModel):
    """What the engine keeps of what it has computed, and how it shares the processor."""

    memory_mb: int = Field(448, ge=64, description="computed state in memory, of all conversations together")
    disk_mb: int = Field(4096, ge=0, description="saved state of course sections, least recently used goes first; 0 saves none")
    parallel: int = Field(8, ge=1, le=32, description="answers written at the same time; more wait their turn")
    warm: bool = Field(True, description="compute the state of sections while nobody asks")
    drafts: bool = Field(True, description="guess ahead from the evidence where that is faster; the answer stays the same")
    join: bool = Field(False, description="join the states of several sections: fast, but only an approximation")
    link_tokens: int = Field(16, ge=0, le=64, description="first tokens of a joined section that are computed in place")


class AnswerSettings(StrictModel):
    """What an answer is made of."""

    max_tokens: int = Field(220, ge=32, le=2048, description="longest answer")
    second_try: float = Field(
        0.9, ge=0, le=1, description="relevance from which the best passage alone is tried, where the rest gave no answer"
    )
    earlier_turns: int = Field(2, ge=0, le=10, description="earlier questions and answers that the model sees at least")


class VoiceSettings(StrictModel):
    """Talking with the course; needs the extra `voice`."""

    listener: Literal["faster-whisper", "openai-whisper"] = Field("faster-whisper", description="what hears")
    model: str = Field("faster-whisper-base", description="its weights, a name of `lectern models list`")
    language: str = Field("en", pattern="^([a-z]{2})?$", description="spoken language, ISO 639-1; empty lets the model tell")
    speaker: Literal["espeak", "piper"] = Field("espeak", description="what speaks")
    voice: str = Field("", description="voice of espeak (`lectern say --list`) or a Piper model; empty takes its default")
    rate: int = Field(170, ge=80, le=400, description="words a minute")
    hands_free: bool = Field(False, description="go on listening after an answer; else each question needs a press")
    pause_ms: int = Field(650, ge=300, le=3000, description="silence that ends a spoken question when hands-free")
    sure: float = Field(0.45, ge=0, le=1, description="confidence below which it asks back instead of answering")
    longest_s: int = Field(120, ge=5, le=600, description="longest spoken question")
    longest_recording_min: int = Field(180, ge=1, le=1440, description="longest recording that is transcribed")
    keep_audio: bool = Field(False, description="keep what was said as sound in the data folder")


class FinetuneSettings(StrictModel):
    """What a better model may be made from."""

    conversations: bool = Field(False, description="conversations may become training rows; ask those who chat first")


class Settings(BaseSettings):
    """The whole tree; see docs of each part."""

    model_config = SettingsConfigDict(
        env_prefix="LECTERN_", env_nested_delimiter="__", env_ignore_empty=True, extra="forbid", frozen=True
    )

    data_dir: Annotated[Path, AfterValidator(Path.expanduser)] = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("lectern", appauthor=False)),
        description="holds the index, the history and uploaded files",
    )
    embedder: str = Field(
        "all-minilm-l6-v2", description="a name of `lectern models list`; one tuned from it and promoted takes its place"
    )
    model: ModelSettings = ModelSettings()
    engine: EngineSettings = EngineSettings()
    answer: AnswerSettings = AnswerSettings()
    chunking: ChunkingSettings = ChunkingSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    grounding: GroundingSettings = GroundingSettings()
    voice: VoiceSettings = VoiceSettings()
    finetune: FinetuneSettings = FinetuneSettings()

    @property
    def index_dir(self) -> Path:
        """The course index."""
        return self.data_dir / "index"

    @property
    def states_dir(self) -> Path:
        """Computed state of course sections."""
        return self.data_dir / "states"

    @property
    def history_file(self) -> Path:
        """Turns and feedback."""
        return self.data_dir / "history.sqlite"

    @property
    def uploads_dir(self) -> Path:
        """Files that were dropped into the page."""
        return self.data_dir / "uploads"

    @property
    def finetune_dir(self) -> Path:
        """Training rows, runs and adapters."""
        return self.data_dir / "finetune"

    @property
    def policy_file(self) -> Path:
        """The teacher's policy of guards, beside lectern.toml."""
        return settings_file().with_name("policy.toml")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over file over defaults; no .env file, no secrets folder."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=settings_file())


def settings_file() -> Path:
    """lectern.toml of this folder if there is one, else the user's own."""
    here = Path("lectern.toml")
    return here if here.is_file() else Path(platformdirs.user_config_dir("lectern", appauthor=False)) / "lectern.toml"


@cache
def load_settings() -> Settings:
    """The settings of this process, read once.

    Raises:
        CourseError: the file cannot be read, or a key or value is wrong; the text names it.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        path = [str(part) for part in first["loc"]]
        remedy = f"Correct it in {settings_file()} or in LECTERN_{'__'.join(path).upper()}."
        raise CourseError(f"Setting {'.'.join(path)}: {first['msg']}.", remedy) from error
    except SettingsError as error:
        raise CourseError(f"A LECTERN_* variable is wrong: {error}.", "Correct or unset it.") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CourseError(f"{settings_file()} is not valid TOML: {error}.", "Correct it.") from error


def core_count() -> int:
    """Cores that this process may use; macOS and Windows only tell how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_count(settings: ModelSettings) -> int:
    """Threads for the engine: one for each core that this process may use, unless set."""
    return settings.threads or core_count()


def go_offline() -> None:
    """Switch off everything in our libraries that could call out; call it before importing them."""
    os.environ.update(
        {
            "ANONYMIZED_TELEMETRY": "False",  # Chroma
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "DO_NOT_TRACK": "1",
            "LANGSMITH_TRACING": "false",
            "LANGCHAIN_TRACING_V2": "false",
            "LITERAL_API_KEY": "",  # Chainlit
            "OTEL_SDK_DISABLED": "true",
            "TOKENIZERS_PARALLELISM": "false",  # forks after the tokenizer was used would deadlock
        }
    )
    defer_iri_grammar()
