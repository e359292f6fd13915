"""What outputs depend on, as JSON for the keys of caches and for manifests."""

from hashlib import sha256
from importlib.metadata import version
from typing import Any

from assistant.adapters import base_hashes, chosen_adapter
from assistant.models import HF, OPENAI, find_spec, hf_folder, model_path, sha256_of
from assistant.prompts import PROMPT_VERSION
from assistant.settings import Settings
from course_guard.policy import load_policy
from course_guard.support.calibration import FILE
from course_guard.support.encoder import MANIFEST, WEIGHTS
from evals.running.cache import code_version
from knowledge import calibrated
from knowledge.index import CourseIndex
from knowledge.retrieval import RELEVANCE_WEIGHTS


def of_assistant(settings: Settings) -> dict[str, Any]:
    """Weights, prompt, code, check of support, policy of the guards, every setting but where the data lie. Loads no weights."""
    return {
        "model": settings.model.name,
        "weights": weights(settings),
        **of_adapter(settings),
        "prompt": PROMPT_VERSION,
        "code": code_version("knowledge", "course_guard", "assistant", "evals.solvers"),
        "settings": settings.model_dump(mode="json", exclude={"data_dir"}),
        "support": [sha256_of(path, lambda _: None) for path in (FILE, WEIGHTS / MANIFEST) if path.is_file()],
        "policy": load_policy(settings.policy_file).model_dump(mode="json"),
    }


def of_index(index: CourseIndex) -> dict[str, Any]:
    """Embedder, calibration and passages: their ids are hashes of document, content and span, so chunking is part of them."""
    ids = sorted(index.catalogue.passage_ids())
    content = sha256("\n".join(ids).encode()).hexdigest()[:12]
    calibration = calibrated.read(index.folder, index.embedder.identity, RELEVANCE_WEIGHTS)
    shift = calibration.shift if calibration else 0.0
    return {"embedder": index.embedder.identity, "passages": len(ids), "content": content, "relevance shift": shift}


def of_model_calls(settings: Settings) -> dict[str, Any]:
    """All that decides, with the prompt, what the chat model writes, and how fast."""
    return {
        "weights": weights(settings),
        **of_adapter(settings),
        **{library: version(library) for library in _libraries(settings.model.name)},
        "code": code_version("assistant.llm"),
        "settings": {"model": settings.model.model_dump(mode="json"), "engine": settings.engine.model_dump(mode="json")},
    }


def of_adapter(settings: Settings) -> dict[str, str]:
    """SHA-256 of the adapter that answers; empty for the model by itself.

    Raises:
        BadAdapter: the settings name one that cannot be used.
    """
    adapter = chosen_adapter(settings)
    return {"adapter": adapter.sha256} if adapter else {}


def _libraries(model: str) -> tuple[str, ...]:
    if model.startswith(OPENAI):
        return ()
    return ("transformers", "torch") if model.startswith(HF) else ("llama-cpp-python",)


def weights(settings: Settings) -> str:
    """SHA-256 of a chat model's file, from the manifest where it is known there; otherwise all of the file is read.

    Of hf: that of the GGUF that the folder was made from, or of all its files. Of a server only its address can be known.

    Raises:
        MissingModel: there is no such model or file.
    """
    name = settings.model.name
    if name.startswith(OPENAI):
        return name
    if name.startswith(HF):
        return min(base_hashes(f"{HF}{hf_folder(name, settings.finetune_dir / 'bases')}"))
    if name.endswith(".gguf"):
        return sha256_of(model_path(name), lambda _: None)
    return find_spec(name).files[0].sha256
