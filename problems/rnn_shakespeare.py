"""A small recurrent network on the characters of As You Like It (Elman 1990)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from optbench.core.problem import Known, Problem, Splits
from optbench.problems.shakespeare import NEXT_SYMBOL, SYMBOLS, windows

CONTEXT = 32  # characters
STATED = {64: Known(4.28828, 1.39036)}  # units: start, best known (Adam with a cosine schedule, 200 passes)


class Elman(nn.Module):
    """(N, T) characters -> (N, T, symbols) scores of the next one.

    Written out as a loop, since torch.nn.RNN cannot be batched over networks by torch.vmap.
    """

    def __init__(self, units: int) -> None:
        super().__init__()
        self.symbol = nn.Embedding(SYMBOLS, units)
        self.memory = nn.Linear(units, units)
        self.head = nn.Linear(units, SYMBOLS)
        nn.init.orthogonal_(self.memory.weight)  # keeps the gradient's length over many steps (Le et al. 2015)

    def forward(self, x: Tensor) -> Tensor:
        drive = self.symbol(x)  # (N, T, units)
        state = torch.zeros_like(drive[:, 0])
        states = []
        for now in drive.unbind(1):
            state = torch.tanh(now + self.memory(state))
            states.append(state)
        scores: Tensor = self.head(torch.stack(states, 1))
        return scores


@dataclass(frozen=True)
class RnnShakespeare(Problem):
    """A recurrent network that predicts the next character of As You Like It, cross-entropy in nats."""

    units: int = 64

    track = "unsupervised"
    objective_loss = NEXT_SYMBOL
    passes = 15.0
    bound = 0.0
    batch = 32
    taus = (0.5, 0.2)

    @property
    def known(self) -> Known | None:
        return STATED.get(self.units)

    def network(self) -> nn.Module:
        return Elman(self.units)

    def data(self) -> Splits:
        return Splits(*windows(CONTEXT))
