"""Tokens from a trained model, one at a time."""

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from finetune.pretrain.model import Decoder
from finetune.pretrain.tokens import END


@torch.inference_mode()
def sample(
    model: Decoder,
    tokeniser: Tokenizer,
    prompt: str,
    tokens: int = 120,
    temperature: float = 0.8,
    top_k: int = 40,
    seed: int = 0,
) -> str:
    """Continue a prompt.

    Args:
        model: is put into evaluation mode.
        tokeniser: its own.
        prompt: not empty.
        tokens: how many to add at most; the end of a document ends it too.
        temperature: below 1 likely tokens get likelier; 0 always takes the likeliest.
        top_k: only so many of the likeliest tokens are drawn from (Fan, Lewis and Dauphin, 2018).
        seed: the same seed gives the same text.
    """
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    ids = tokeniser.encode(prompt).ids
    for _ in range(tokens):
        window = torch.tensor([ids[-model.shape.context :]])
        logits = model(window)[0, -1]  # (V,)
        if temperature == 0:
            next_ = int(logits.argmax())
        else:
            best, places = logits.topk(min(top_k, len(logits)))
            drawn = torch.multinomial(F.softmax(best / temperature, dim=-1), 1, generator=generator)
            next_ = int(places[drawn])
        if next_ == tokeniser.token_to_id(END):
            break
        ids.append(next_)
    return str(tokeniser.decode(ids))
