"""A character-level transformer on As You Like It (Vaswani et al. 2017; pre-norm as in GPT-2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from optbench.core.problem import Known, Problem, Splits
from optbench.problems.precision import PRECISIONS, in_precision
from optbench.problems.shakespeare import NEXT_SYMBOL, SYMBOLS, windows
from optbench.problems.shared import stated

MAX_CONTEXT = 2048  # characters; the validation text has 6,258
# (width, layers): start, best known (Adam with a cosine schedule, 150 passes)
STATED = {(32, 2): Known(4.33682, 1.28309)}


class Attention(nn.Module):
    """(N, T, W) -> (N, T, W): each position attends to itself and to what came before, in `heads` parts."""

    future: Tensor

    def __init__(self, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.heads = heads
        self.mix, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.register_buffer("future", torch.ones(context, context, dtype=torch.bool).triu(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        n, t, w = x.shape
        q, k, v = (
            self.mix(x).view(n, t, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        )  # (N, H, T, .)
        scores = (q @ k.transpose(-1, -2)) / math.sqrt(w // self.heads)
        weights = scores.masked_fill(self.future[:t, :t], -math.inf).softmax(-1)
        mixed: Tensor = self.out((weights @ v).transpose(1, 2).reshape(n, t, w))
        return mixed


class Block(nn.Module):
    """Attention and a two-layer network, each added to what came in."""

    def __init__(self, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(width), Attention(width, heads, context))
        self.network = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        out: Tensor = x + self.network(x)
        return out


class Transformer(nn.Module):
    """(N, T) characters -> (N, T, symbols) scores of the next one."""

    def __init__(self, width: int, layers: int, heads: int, context: int) -> None:
        super().__init__()
        self.symbol = nn.Embedding(SYMBOLS, width)
        self.position = nn.Parameter(0.02 * torch.randn(context, width))
        self.blocks = nn.Sequential(*(Block(width, heads, context) for _ in range(layers)))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, SYMBOLS))
        nn.init.normal_(self.symbol.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.blocks(self.symbol(x) + self.position[: x.shape[1]]))
        return scores


@dataclass(frozen=True)
class TransformerShakespeare(Problem):
    """A transformer that predicts the next character of As You Like It, cross-entropy in nats."""

    width: int = 32
    layers: int = 2
    heads: int = 4
    context: int = 32  # characters
    precision: str = "single"  # or mixed: bfloat16 where autocast has it

    track = "unsupervised"
    objective_loss = NEXT_SYMBOL
    passes = 15.0
    bound = 0.0
    batch = 32
    taus = (0.5, 0.4)

    def __post_init__(self) -> None:
        if self.width < 1 or self.layers < 1 or self.heads < 1 or self.width % self.heads:
            raise ValueError(f"transformer: width {self.width} is not a positive multiple of heads {self.heads}")
        if not 2 <= self.context <= MAX_CONTEXT:
            raise ValueError(f"transformer: context {self.context} must be from 2 to {MAX_CONTEXT} characters")
        stated("transformer: precision", self.precision, PRECISIONS)

    @property
    def known(self) -> Known | None:
        return STATED.get((self.width, self.layers)) if (self.heads, self.context) == (4, 32) else None

    def network(self) -> nn.Module:
        return in_precision(Transformer(self.width, self.layers, self.heads, self.context), self.precision)

    def data(self) -> Splits:
        return Splits(*windows(self.context))
