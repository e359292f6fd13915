"""From the course to an adapter that was tried and refused: the commands of docs/finetuning.md, the 135M model, few steps."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from assistant.models import model_path
from knowledge.errors import MissingModel

MODEL = "smollm2-135m-instruct"
pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def lectern(tmp_path_factory):
    """Runs `lectern` with a data folder of its own."""
    try:
        weights = [model_path(name) for name in (MODEL, "all-minilm-l6-v2")]
    except MissingModel as error:
        pytest.skip(f"{error} {error.remedy}")
    data = tmp_path_factory.mktemp("data")
    environment = os.environ | {
        "LECTERN_DATA_DIR": str(data),
        "LECTERN_MODELS_DIR": str(weights[0].parent.parent),
        "LECTERN_MODEL__NAME": MODEL,
    }

    def run(*arguments: str, code: int = 0, **more: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", "from assistant.cli import main; main()", *arguments],
            env=environment | more,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == code, f"{arguments}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    run("ingest", "--starter")
    return run, data / "finetune"


def manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def test_rows_training_export_answer_trial_and_back(lectern):
    run, folder = lectern
    run("finetune", "data", "--rows", "60", "--pairs", "24")
    rows = [json.loads(line) for line in (folder / "data" / "sft.train.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["kind"] for row in rows} >= {"oracle", "removed"}

    few = ("--model", MODEL, "--steps", "2", "--set", "sft.batch=2", "--set", "sft.warmup=0", "--set", "sft.held=0")
    run("finetune", "sft", *few, "--set", "sft.max_length=700")
    learnt = manifest(folder / "runs" / "sft-1")
    assert (learnt["kind"], learnt["state"], learnt["steps_done"]) == ("sft", "done", 2)
    assert (folder / "runs" / "sft-1" / "loss.png").stat().st_size > 1000

    pairs = (
        "--steps",
        "1",
        "--set",
        "dpo.batch=2",
        "--set",
        "dpo.warmup=0",
        "--set",
        "dpo.held=0",
        "--set",
        "dpo.max_length=700",
    )
    run("finetune", "dpo", "--from", "sft-1", *pairs)
    assert manifest(folder / "runs" / "dpo-1")["from"] == "sft-1"

    run("finetune", "export", "dpo-1", "--no-check")
    assert (folder / "adapters" / "dpo-1" / "adapter.gguf").stat().st_size > 1_000_000
    answer = json.loads(run("ask", "What does dropout do during training?", "--json", LECTERN_MODEL__ADAPTER="dpo-1"))
    assert "dpo-1" in answer["model"]

    trial = json.loads(run("finetune", "promote", "dpo-1", "--quick", "--json", code=1))
    assert (trial["adapter"], trial["passed"]) == ("dpo-1", False)
    listed = json.loads(run("finetune", "list", "--json"))
    assert (listed["current"], [each["id"] for each in listed["adapters"]]) == (None, ["dpo-1"])
