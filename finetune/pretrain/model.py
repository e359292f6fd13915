"""The network: a decoder-only Transformer as current language models have it, small enough to be read at one sitting.

    tokens -> embedding -> L blocks -> RMSNorm -> logits
    block:  x = x + attention(norm(x));  x = x + feed_forward(norm(x))        (pre-normalisation)

Letters in shapes: B windows of a batch, T tokens of a window, d width, H heads, h = d / H dimensions of a head, V vocabulary.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from finetune.pretrain.config import Shape


class RMSNorm(nn.Module):
    """Scale each vector to a root mean square of 1, then by a learned gain (Zhang and Sennrich, 2019); (..., d) -> (..., d)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


def rotate(x: Tensor, first: int = 0) -> Tensor:
    """Rotary position embedding (Su et al., 2021); shape (..., T, h) -> (..., T, h).

    Dimension i and i + h/2 are the two coordinates of a point, which is turned by an angle that grows with the position.
    A product of two turned vectors then depends on how far apart they stand, and not on where.

    Args:
        x: queries or keys.
        first: position of the first of the T vectors.
    """
    length, half = x.shape[-2], x.shape[-1] // 2
    speed = 10_000.0 ** (-torch.arange(half, dtype=torch.float32) / half)  # the first pair turns fast, the last slowly
    angle = (torch.arange(length, dtype=torch.float32) + first)[:, None] * speed  # (T, h/2)
    cos, sin = angle.cos(), angle.sin()
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class Attention(nn.Module):
    """Each token looks at itself and at those before it (Vaswani et al., 2017); (B, T, d) -> (B, T, d)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.queries_keys_values = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.out = nn.Linear(shape.width, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        parts = self.queries_keys_values(x).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)  # each (B, H, T, h)
        # softmax(q k^T / sqrt(h)) v, where is_causal hides what comes later: without that the answer could be copied
        seen = F.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True)
        mixed: Tensor = self.out(seen.transpose(1, 2).reshape(batch, length, width))
        return mixed


class FeedForward(nn.Module):
    """SwiGLU: one projection gates the other (Shazeer, 2020); (B, T, d) -> (B, T, d)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate = nn.Linear(shape.width, shape.hidden, bias=False)
        self.up = nn.Linear(shape.width, shape.hidden, bias=False)
        self.down = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gated: Tensor = F.silu(self.gate(x)) * self.up(x)
        made: Tensor = self.down(gated)
        return made


class Block(nn.Module):
    """Attention and feed-forward, each added to what it read; (B, T, d) -> (B, T, d)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention_norm, self.attention = RMSNorm(shape.width), Attention(shape)
        self.feed_forward_norm, self.feed_forward = RMSNorm(shape.width), FeedForward(shape)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        made: Tensor = self.feed_forward(self.feed_forward_norm(x))
        return x + made


class Decoder(nn.Module):
    """The whole model. The embedding is the output layer too: tying them saves V x d parameters (Press and Wolf, 2017)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList([Block(shape) for _ in range(shape.layers)])
        self.norm = RMSNorm(shape.width)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:  # as GPT-2; what is added to the residual 2L times starts smaller by sqrt(2L)
                added = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / (math.sqrt(2 * shape.layers) if added else 1))

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the next token at every place; (B, T) int64 -> (B, T, V)."""
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.embedding.weight)

    @property
    def parameters_in_all(self) -> int:
        """How many numbers are learnt."""
        return sum(parameter.numel() for parameter in self.parameters())


def new_model(shape: Shape, seed: int) -> Decoder:
    """An untrained model; the same seed gives the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Decoder(shape)
