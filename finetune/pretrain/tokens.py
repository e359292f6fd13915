"""Text -> tokens: a byte-level BPE tokeniser, trained on the course (Sennrich, Haddow and Birch, 2016).

It starts from the 256 bytes, so no text is out of vocabulary, and merges the most frequent neighbours until the vocabulary is
full. The lesson writes these merges out by hand; the library does the same faster.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

if TYPE_CHECKING:
    from torch import Tensor

END = "<|end|>"  # stands after every document, so that the model learns where one ends


def train_tokeniser(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """A tokeniser of at most `vocabulary` tokens, END among them; the texts must not hold measured ones."""
    tokeniser = Tokenizer(models.BPE())
    tokeniser.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokeniser.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    tokeniser.train_from_iterator(texts, trainer)
    return tokeniser


def encode(tokeniser: Tokenizer, texts: Iterable[str]) -> "Tensor":
    """All texts as one row of tokens, each closed by END; shape (N,), int64."""
    end = tokeniser.token_to_id(END)
    ids = [id_ for text in texts for id_ in (*tokeniser.encode(text).ids, end)]
    return torch.tensor(ids, dtype=torch.long)


def load_tokeniser(path: Path) -> Tokenizer:
    """The tokeniser that a run has saved."""
    return Tokenizer.from_file(str(path))
