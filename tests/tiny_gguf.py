"""Random models of two layers, as a Hugging Face folder and as GGUF, and adapters for them: real files for real readers."""

from functools import cache

import numpy as np

ARCHITECTURES = ("llama", "qwen2")
HIDDEN, HEADS, KV_HEADS, LAYERS, WORDS = 64, 4, 2, 2, 320
CONTROL = ("<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def make_model(folder, architecture, seed=0, hidden=HIDDEN):
    """The folder `hf` and the file model.gguf in a folder, of the same weights.

    Hugging Face turns the first half of a head against the second, a llama GGUF file neighbours against each other, so its
    query and key rows are written in that order here: row 2i + s of a head is row i + s * half.
    """
    import gguf
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    config_class, model_class = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}[
        architecture
    ]
    config = config_class(
        vocab_size=WORDS, hidden_size=hidden, intermediate_size=96, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS, max_position_embeddings=2048, rms_norm_eps=1e-5, tie_word_embeddings=False,
        initializer_range=0.2, bos_token_id=256, eos_token_id=257, pad_token_id=257,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = model_class(config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder / "hf")

    writer = gguf.GGUFWriter(folder / "model.gguf", architecture)
    for key, value in {
        "context_length": 2048, "embedding_length": hidden, "block_count": LAYERS, "feed_forward_length": 96,
        "attention.head_count": HEADS, "attention.head_count_kv": KV_HEADS, "rope.dimension_count": hidden // HEADS,
        "vocab_size": WORDS,
    }.items():  # fmt: skip
        writer.add_uint32(f"{architecture}.{key}", value)
    writer.add_float32(f"{architecture}.attention.layer_norm_rms_epsilon", 1e-5)
    writer.add_float32(f"{architecture}.rope.freq_base", 10000.0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    tokens = [*_byte_letters(), *CONTROL, "ab"]
    tokens += [f"<unused{n}>" for n in range(len(tokens), WORDS)]
    writer.add_token_list(tokens)
    writer.add_token_types([1] * 256 + [3, 3, 1] + [5] * (WORDS - 259))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(256)
    writer.add_eos_token_id(257)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[architecture.upper()], LAYERS)
    for name, weights in model.state_dict().items():
        rows = weights.numpy()
        if architecture == "llama" and "q_proj" in name:
            rows = _neighbours(rows, HEADS)
        if architecture == "llama" and "k_proj" in name:
            rows = _neighbours(rows, KV_HEADS)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), rows)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder


def make_adapter(model_folder, out, seed=1, std=0.1, **changes):
    """A random PEFT adapter for a model of `make_model`, in a folder; `std`: of the numbers of B."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(model_folder / "hf", dtype=torch.float32)
    torch.manual_seed(seed)
    config = {"r": 4, "lora_alpha": 12, "target_modules": list(MODULES), "task_type": "CAUSAL_LM", **changes}
    tuned = get_peft_model(model, LoraConfig(**config))
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=std)
    tuned.save_pretrained(out)
    return out


def _neighbours(rows, heads):
    size = len(rows) // heads
    half = size // 2
    order = [head * size + i + s * half for head in range(heads) for i in range(half) for s in (0, 1)]
    return np.ascontiguousarray(rows[order])


@cache
def _byte_letters():
    """GPT-2's letter for each byte, in the order of the bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return tuple(chr(byte) if byte in plain else chr(next(others)) for byte in range(256))
