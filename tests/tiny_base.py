"""A random model of two layers and 64 dimensions with its own tokenizer, as a Hugging Face folder; and rows to train it on."""

import json
from hashlib import sha256
from pathlib import Path

from finetune.rows import Origin, Pair, Row, Thumb, replace_text, row_id, write

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
FACTS = {
    "sun": "The Sun stands in one focus of the ellipse.",
    "leaf": "Leaves are green because chlorophyll reflects green light.",
    "prior": "The prior is the belief before the evidence.",
    "rubisco": "Rubisco fixes carbon dioxide in the Calvin cycle.",
    "period": "The square of the period grows with the cube of the axis.",
    "rare": "A rare disease stays unlikely after one positive test.",
}
ORIGIN = Origin("rule", "written in a test")


def make_base(folder: Path, kind: str = "llama") -> Path:
    """Write weights, tokenizer and chat template; `kind` is llama or qwen2."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    tokenizer = make_tokenizer()
    config, model = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}[kind]
    torch.manual_seed(0)
    shape = config(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, initializer_range=0.2, tie_word_embeddings=False,
        bos_token_id=tokenizer.eos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model(shape).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_tokenizer():
    """Byte-level BPE as qwen2 and llama 3 have it, trained on the facts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(["system user assistant What about ?\n", *FACTS, *FACTS.values()], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=CHATML, model_max_length=512
    )


def _prompt(subject):
    return ({"role": "system", "content": "Answer."}, {"role": "user", "content": f"What about {subject}?"})


def write_rows(folder: Path, long: int = 0, down: int = 2) -> None:
    """Rows, pairs and thumbs about the facts; so many more rows are far too `long`, so many thumbs point `down`."""
    rows = [Row(row_id("plain", _prompt(s), text), "lesson", ORIGIN, _prompt(s), "plain", text) for s, text in FACTS.items()]
    rows += [Row(f"long{n}", "lesson", ORIGIN, _prompt("sun " * 3000), "plain", FACTS["sun"]) for n in range(long)]
    write(folder / "sft.train.jsonl", rows)
    write(folder / "sft.held.jsonl", rows[:1])
    subjects = list(FACTS)
    pairs = [
        Pair(f"pair{n}", "lesson", ORIGIN, _prompt(s), "answer", FACTS[s], FACTS[subjects[n - 1]])
        for n, s in enumerate(subjects)
    ]
    write(folder / "pairs.train.jsonl", pairs)
    write(folder / "pairs.held.jsonl", pairs[:1])
    thumbs = [Thumb(f"up{n}", "lesson", ORIGIN, _prompt(s), FACTS[s], True) for n, s in enumerate(subjects)]
    thumbs += [
        Thumb(f"down{n}", "lesson", ORIGIN, _prompt(s), FACTS[subjects[n - 1]], False) for n, s in enumerate(subjects[:down])
    ]
    write(folder / "thumbs.jsonl", thumbs)
    files = {file.name: sha256(file.read_bytes()).hexdigest() for file in folder.glob("*.jsonl")}
    replace_text(folder / "manifest.json", json.dumps({"files": files, "held_lessons": ["other lesson"], "counts": {}}))


def read_log(folder: Path) -> list[dict[str, float]]:
    """Lines of a run's loss.jsonl."""
    return [json.loads(line) for line in (folder / "loss.jsonl").read_text().splitlines()]
