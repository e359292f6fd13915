"""The tokens of a row, exactly those that the served engine reads: training on others would teach another model's prompt.

assistant/llm/chat_llama.py tokenises content apart from the template, and each block apart from the next. Rows hold a message
as one text; what the chain puts before the model has one boundary in it, between its rules and the section behind them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from assistant.prompts import SYSTEM

_SLOT = "\ue000"  # private use: no template contains it

Message = Mapping[str, Any]  # "role" and "content": text, or blocks as LangChain has them


def speak_as_served(tokenizer: Any) -> Any:
    """Make a tokenizer's `apply_chat_template`, which is what TRL calls, give the tokens of the served engine; returns it."""

    def apply_chat_template(conversation: Sequence[Message], **options: Any) -> Any:
        tokens = chat_tokens(tokenizer, conversation, bool(options.get("add_generation_prompt")))
        return {"input_ids": tokens, "attention_mask": [1] * len(tokens)}

    tokenizer.render_chat = tokenizer.apply_chat_template
    tokenizer.apply_chat_template = apply_chat_template
    return tokenizer


def chat_tokens(tokenizer: Any, messages: Sequence[Message], add_generation_prompt: bool) -> list[int]:
    """Tokens of a conversation, as ChatLlama.prompt_tokens gives them.

    Args:
        tokenizer: of transformers, gone through `speak_as_served`.
        messages: the last is the answer unless `add_generation_prompt`; the tokens then end with the one that ends it.
        add_generation_prompt: end with what makes the model answer.
    """
    slots = [{"role": message["role"], "content": f"{_SLOT}{n}{_SLOT}"} for n, message in enumerate(messages)]
    rendered = tokenizer.render_chat(slots, tokenize=False, add_generation_prompt=add_generation_prompt)
    tokens: list[int] = []
    parts = rendered.split(_SLOT)
    for position, part in enumerate(parts):
        if position % 2 == 0:
            piece = _encode(tokenizer, part, special=True)
            if position == len(parts) - 1 and not add_generation_prompt and tokenizer.eos_token_id in piece:
                piece = piece[: piece.index(tokenizer.eos_token_id) + 1]  # the engine stops there and never reads what follows
            tokens += piece
        else:
            for block in _blocks(messages[int(part)]):
                tokens += _encode(tokenizer, block, special=False)
    return tokens


def _encode(tokenizer: Any, text: str, special: bool) -> list[int]:
    """`special`: whether "<|im_end|>" is a control token or ten characters."""
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=not special)["input_ids"] if text else []
    return list(ids)


def _blocks(message: Message) -> list[str]:
    content = message["content"]
    if not isinstance(content, str):
        return [block if isinstance(block, str) else block["text"] for block in content]
    if message["role"] == "system" and content.startswith(SYSTEM):
        return [SYSTEM, content.removeprefix(SYSTEM)]
    return [content]
