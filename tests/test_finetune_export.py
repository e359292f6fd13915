"""Adapters and merged models as GGUF, compared with transformers on random models of two layers; `-m model` on real ones."""

import errno
import json
import shutil

import numpy as np
import pytest

gguf = pytest.importorskip("gguf")
pytest.importorskip("peft")

import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from tiny_gguf import ARCHITECTURES, make_adapter, make_model  # noqa: E402

from assistant.llm.fingerprint import fingerprint  # noqa: E402
from finetune import gguf_files  # noqa: E402
from finetune.export import to_gguf_adapter  # noqa: E402
from finetune.merge import merged_q8  # noqa: E402
from finetune.parity import MARGIN, Parity, course_texts, kl_per_token, parity  # noqa: E402
from knowledge.errors import CourseError  # noqa: E402

TEXTS = ["Kepler's first law says that every planet moves on an ellipse.", "A matrix is a table of numbers."]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder for each architecture: hf, model.gguf, peft."""
    folder = tmp_path_factory.mktemp("models")
    for architecture in ARCHITECTURES:
        (folder / architecture).mkdir()
        make_model(folder / architecture, architecture)
        make_adapter(folder / architecture, folder / architecture / "peft")
    return folder


@pytest.fixture
def llama(models):
    return models / "llama"


@pytest.fixture
def peft(llama, tmp_path):
    """A copy of the adapter for the llama model, to be spoilt."""
    return shutil.copytree(llama / "peft", tmp_path / "peft")


def change_config(peft, **changes):
    path = peft / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_tensors(peft, change):
    path = peft / "adapter_model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path)


def a_key(tensors, part="layers.1.self_attn.q_proj.lora_B"):
    return next(key for key in tensors if part in key)


def compared(folder, peft, adapter, merged=None):
    return parity(folder / "hf", peft, folder / "model.gguf", adapter, TEXTS, merged)


# What llama.cpp computes with it


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("changes", [{}, {"use_rslora": True}, {"target_modules": ["q_proj", "down_proj"], "r": 2}])
def test_llama_cpp_computes_with_the_exported_adapter_what_transformers_does(models, tmp_path, architecture, changes):
    folder = models / architecture
    peft = make_adapter(folder, tmp_path / "peft", **changes) if changes else folder / "peft"
    found = compared(folder, peft, to_gguf_adapter(peft, folder / "model.gguf", tmp_path / "out" / "adapter.gguf"))
    assert found.tokens > 60
    assert found.effect > 0.05  # it is an adapter that is noticed
    assert found.tuned < 1e-4
    assert found.base < 1e-4
    assert found.passed
    assert found.agree > 0.95


def test_an_adapter_in_bfloat16_is_exported(llama, peft, tmp_path):
    def halve(tensors):
        for key in tensors:
            tensors[key] = tensors[key].bfloat16()

    change_tensors(peft, halve)
    assert compared(llama, peft, to_gguf_adapter(peft, llama / "model.gguf", tmp_path / "adapter.gguf")).tuned < 1e-4


def test_parity_notices_an_adapter_of_other_numbers(llama, peft, tmp_path):
    adapter = to_gguf_adapter(llama / "peft", llama / "model.gguf", tmp_path / "adapter.gguf")
    change_config(peft, lora_alpha=6)  # the export had 12
    found = compared(llama, peft, adapter)
    assert found.excess > MARGIN
    assert not found.passed
    assert "beyond 0.01" in found.lines()[-1]


def test_the_file_says_what_it_is_and_for_whom(llama, tmp_path):
    file = gguf_files.GgufFile.read(to_gguf_adapter(llama / "peft", llama / "model.gguf", tmp_path / "adapter.gguf"))
    assert (file.text("general.type"), file.text("adapter.type"), file.architecture) == ("adapter", "lora", "llama")
    assert file.text("lectern.base") == fingerprint(llama / "model.gguf")
    assert float(file.fields["adapter.lora.alpha"].contents()) == 12
    assert len(file.tensors) == 2 * 2 * 7
    assert file.shape("blk.0.ffn_down.weight.lora_a") == (4, 96)
    assert file.shape("blk.0.ffn_down.weight.lora_b") == (64, 4)


# What is refused


REFUSED = [
    ({"use_dora": True}, "use_dora: DoRA"),
    ({"rank_pattern": {"q_proj": 2}}, "rank_pattern"),
    ({"alpha_pattern": {"q_proj": 2}}, "alpha_pattern"),
    ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    ({"lora_bias": True}, "lora_bias"),
    ({"bias": "lora_only"}, "bias"),
    ({"init_lora_weights": "pissa"}, "changes the base weights"),
    ({"trainable_token_indices": [5]}, "trained tokens"),
    ({"alora_invocation_tokens": [5]}, "aLoRA"),
    ({"peft_type": "IA3"}, "no LoRA adapter"),
    ({"lora_alpha": 0}, "lora_alpha to 0"),
    ({"r": 8}, r"shapes \(4, 64\) and \(64, 4\), but model.gguf needs \(8, 64\)"),
]


@pytest.mark.parametrize(("changes", "said"), REFUSED)
def test_what_llama_cpp_cannot_do_is_refused(llama, peft, tmp_path, changes, said):
    change_config(peft, **changes)
    out = tmp_path / "out" / "adapter.gguf"
    with pytest.raises(CourseError, match=said) as caught:
        to_gguf_adapter(peft, llama / "model.gguf", out)
    assert caught.value.remedy
    assert not out.parent.exists()


def _lm_head(tensors):
    tensors["base_model.model.lm_head.lora_A.weight"] = torch.zeros(4, 64)


def _magnitude(tensors):
    tensors["base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector"] = torch.zeros(64)


def _bias(tensors):
    tensors["base_model.model.model.layers.0.self_attn.q_proj.lora_B.bias"] = torch.zeros(64)


def _third_layer(tensors):
    tensors["base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight"] = torch.zeros(4, 64)


def _half(tensors):
    del tensors[a_key(tensors)]


def _not_finite(tensors):
    tensors[a_key(tensors)][3, 1] = float("inf")


def _turned(tensors):
    key = a_key(tensors, "mlp.up_proj.lora_B")
    tensors[key] = tensors[key].T


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_lm_head, "lm_head.lora_A.weight is not LoRA of a layer"),
        (_magnitude, "lora_magnitude_vector is not LoRA"),
        (_bias, "lora_B.bias is not LoRA"),
        (_third_layer, "layers.2.* is not LoRA of a layer that model.gguf has"),
        (_half, "only one of two matrices"),
        (_not_finite, "not finite"),
        (_turned, r"\(4, 96\), but model.gguf needs \(4, 64\) and \(96, 4\)"),
        (dict.clear, "holds no tensors"),
    ],
)
def test_tensors_that_fit_no_layer_are_refused(llama, peft, tmp_path, change, said):
    change_tensors(peft, change)
    with pytest.raises(CourseError, match=said):
        to_gguf_adapter(peft, llama / "model.gguf", tmp_path / "adapter.gguf")


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
@pytest.mark.parametrize("data", [None, b"", b"{", b"\xff" * 99])
def test_damaged_files_are_refused(llama, peft, tmp_path, name, data):
    (peft / name).unlink() if data is None else (peft / name).write_bytes(data)
    with pytest.raises(CourseError, match=name):
        to_gguf_adapter(peft, llama / "model.gguf", tmp_path / "adapter.gguf")


def test_an_adapter_of_another_architecture_is_refused_though_its_shapes_fit(models, llama, tmp_path):
    with pytest.raises(CourseError, match="trained on the architecture qwen2, but .* has llama"):
        to_gguf_adapter(models / "qwen2" / "peft", llama / "model.gguf", tmp_path / "adapter.gguf")


def test_a_base_of_an_architecture_that_nobody_has_checked_is_refused(peft, tmp_path):
    base = tmp_path / "base.gguf"
    writer = gguf.GGUFWriter(base, "gpt2")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(CourseError, match="architecture gpt2, for which no adapters"):
        to_gguf_adapter(peft, base, tmp_path / "adapter.gguf")


@pytest.mark.parametrize("data", [None, b"", b"GGUF", b"GGUF" + b"\xff" * 60, b"hello" * 50])
def test_a_base_that_is_no_gguf_file_is_refused(peft, tmp_path, data):
    base = tmp_path / "base.gguf"
    if data is not None:
        base.write_bytes(data)
    with pytest.raises(CourseError, match="base.gguf cannot be read as GGUF"):
        to_gguf_adapter(peft, base, tmp_path / "adapter.gguf")


def test_a_full_disk_leaves_what_was_there(llama, tmp_path, monkeypatch):
    out = tmp_path / "adapter.gguf"
    out.write_bytes(b"the last one")
    write = gguf.GGUFWriter.write_tensors_to_file

    def full(self, *args, **kwargs):
        write(self, *args, **kwargs)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(gguf.GGUFWriter, "write_tensors_to_file", full)
    with pytest.raises(CourseError, match="adapter.gguf cannot be written: No space left on device"):
        to_gguf_adapter(llama / "peft", llama / "model.gguf", out)
    assert out.read_bytes() == b"the last one"
    assert list(tmp_path.iterdir()) == [out]


def test_an_interrupt_leaves_what_was_there_and_a_kill_is_tidied_up_by_the_next(llama, tmp_path, monkeypatch):
    out = tmp_path / "adapter.gguf"
    with pytest.raises(KeyboardInterrupt), gguf_files.written(out) as part:
        part.write_bytes(b"half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    part.write_bytes(b"half of one whose process was killed")
    to_gguf_adapter(llama / "peft", llama / "model.gguf", out)
    assert list(tmp_path.iterdir()) == [out]


def test_without_the_package_the_remedy_is_named(monkeypatch, llama, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(CourseError, match=r"make finetune"):
        to_gguf_adapter(llama / "peft", llama / "model.gguf", tmp_path / "adapter.gguf")


# Merged


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_merged_model_needs_no_adapter(models, tmp_path, architecture):
    folder = models / architecture
    adapter = to_gguf_adapter(folder / "peft", folder / "model.gguf", tmp_path / "adapter.gguf")
    told = []
    merged = merged_q8(folder / "model.gguf", adapter, tmp_path / "merged.gguf", lambda *at: told.append(at))
    found = compared(folder, folder / "peft", None, merged)
    assert found.effect > 0.05
    assert found.tuned < MARGIN  # 8 bits, of weights of the size of 0.2
    assert told[-1] == (len(told), len(told))


def test_a_merged_model_keeps_all_that_the_adapter_does_not_touch(models, tmp_path):
    folder = models / "qwen2"
    peft = make_adapter(folder, tmp_path / "peft", target_modules=["q_proj"], layers_to_transform=[1])
    adapter = to_gguf_adapter(peft, folder / "model.gguf", tmp_path / "adapter.gguf")
    merged = gguf_files.GgufFile.read(merged_q8(folder / "model.gguf", adapter, tmp_path / "merged.gguf"))
    base = gguf_files.GgufFile.read(folder / "model.gguf")
    assert list(merged.tensors) == list(base.tensors)
    changed = [name for name, tensor in base.tensors.items() if not np.array_equal(tensor.data, merged.tensors[name].data)]
    assert changed == ["blk.1.attn_q.weight"]
    assert merged.tensors[changed[0]].tensor_type == gguf.GGMLQuantizationType.Q8_0
    own = {"GGUF.version", "GGUF.tensor_count", "GGUF.kv_count", "general.file_type"}
    assert base.fields.keys() - merged.fields.keys() == set()
    for key in base.fields.keys() - own:
        assert merged.fields[key].contents() == base.fields[key].contents()
    assert merged.text("tokenizer.chat_template")


def test_rows_that_blocks_do_not_divide_are_kept_in_16_bits(tmp_path):
    folder = tmp_path / "narrow"
    folder.mkdir()
    make_model(folder, "llama", hidden=48)
    peft = make_adapter(folder, tmp_path / "peft")
    adapter = to_gguf_adapter(peft, folder / "model.gguf", tmp_path / "adapter.gguf")
    merged = merged_q8(folder / "model.gguf", adapter, tmp_path / "merged.gguf")
    types = {tensor.name: tensor.tensor_type.name for tensor in gguf_files.GgufFile.read(merged).tensors.values()}
    assert (types["blk.0.attn_q.weight"], types["blk.0.ffn_down.weight"]) == ("F16", "Q8_0")
    assert compared(folder, peft, None, merged).tuned < MARGIN


def test_what_does_not_belong_together_is_not_merged(models, llama, tmp_path):
    adapter = to_gguf_adapter(llama / "peft", llama / "model.gguf", tmp_path / "adapter.gguf")
    other = tmp_path / "other"
    other.mkdir()
    make_model(other, "llama", seed=9)
    for base, what, said in (
        (models / "qwen2" / "model.gguf", adapter, "made for another model"),
        (other / "model.gguf", adapter, "made for another model"),
        (llama / "model.gguf", other / "model.gguf", "is no LoRA adapter"),
        (llama / "model.gguf", tmp_path / "none.gguf", "cannot be read"),
    ):
        with pytest.raises(CourseError, match=said):
            merged_q8(base, what, tmp_path / "merged.gguf")
    assert not (tmp_path / "merged.gguf").exists()


# The measure


def test_the_divergence_is_that_of_the_definition():
    wanted, found = np.log([[0.5, 0.25, 0.25], [0.9, 0.05, 0.05]]), np.log([[0.25, 0.5, 0.25], [0.9, 0.05, 0.05]])
    expected = 0.5 * np.log(2) + 0.25 * np.log(0.5)
    assert kl_per_token(wanted + 7, found - 300) == pytest.approx([expected, 0], abs=1e-12)
    assert kl_per_token(np.array([[1e4, 0.0]]), np.array([[0.0, 1e4]]))[0] == pytest.approx(1e4)


def test_the_verdict_is_about_what_the_export_adds():
    assert Parity(9, 0.05, 0.0599, 1, 0, 1).passed
    assert not Parity(9, 0.0, 0.0101, 1, 0, 1).passed


def test_nothing_to_compare_is_an_error(llama, tmp_path):
    adapter = to_gguf_adapter(llama / "peft", llama / "model.gguf", tmp_path / "adapter.gguf")
    with pytest.raises(CourseError, match="no text"):
        parity(llama / "hf", llama / "peft", llama / "model.gguf", adapter, [""])


def test_course_texts_are_spread_over_the_lessons():
    texts = course_texts(5, 300)
    assert len(texts) == 5 == len(set(texts))
    assert all(len(text) == 300 for text in texts)


# Real weights


@pytest.mark.model
@pytest.mark.parametrize("name", ["smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct-q4_k_m"])
def test_an_exported_adapter_of_a_real_model_is_within_the_margin(name, tmp_path, monkeypatch):
    from assistant.models import model_path
    from assistant.settings import load_settings
    from finetune.base import base_model

    monkeypatch.setenv("LECTERN_DATA_DIR", str(tmp_path / "data"))
    load_settings.cache_clear()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "hf").symlink_to(base_model(name))
    peft = make_adapter(tmp_path / "model", tmp_path / "peft", std=0.05)
    found = parity(
        tmp_path / "model" / "hf", peft, model_path(name), to_gguf_adapter(peft, model_path(name), tmp_path / "a.gguf"),
        course_texts(2, 300),
    )  # fmt: skip
    load_settings.cache_clear()
    assert found.effect > 3 * MARGIN
    assert found.passed


# The command


def test_the_command_exports_merges_compares_and_keeps_the_figures(llama, tmp_path, monkeypatch):
    import typer
    from typer.testing import CliRunner

    from assistant.adapters import FILE, PEFT, Adapter
    from finetune import commands_export

    folder = tmp_path / "sft-1"
    shutil.copytree(llama / "peft", folder / PEFT)
    to_gguf_adapter(folder / PEFT, llama / "model.gguf", folder / FILE)
    made = Adapter("sft-1", folder, {"base": str(llama / "model.gguf")})
    monkeypatch.setattr("finetune.adapters.export", lambda settings, run, base: made)
    monkeypatch.setattr("finetune.base.base_model", lambda name, say: llama / "hf")
    app = typer.Typer()
    commands_export.add(app)
    app.command("other")(lambda: None)
    found = CliRunner().invoke(app, ["export", "sft-1", "--merge"])
    assert found.exit_code == 0, found.output
    assert found.output.count("within 0.01") == 2
    kept = json.loads((folder / "parity.json").read_text())
    assert kept["adapter"]["passed"] and kept["merged"]["passed"]
    assert kept["adapter"]["excess"] < kept["merged"]["excess"] < MARGIN
    assert (folder / "merged.gguf").stat().st_size
    monkeypatch.setattr("finetune.parity.MARGIN", -1.0)
    found = CliRunner().invoke(app, ["export", "sft-1"])
    assert found.exit_code == 1
    assert "beyond" in found.output
