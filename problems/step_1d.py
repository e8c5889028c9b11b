"""A noisy staircase fitted by K hard steps: the optimum over all real weights is known by dynamic programming."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from optbench.core.layers import Step
from optbench.core.losses import MSE
from optbench.core.problem import Best, Problem, Splits, generator

LEVELS = (0.2, 1.0, -0.6, 0.5, -1.0, 0.1, 0.8, -0.3)  # of the noiseless staircase on [0, 1), from left to right
NOISE = 0.2  # standard deviation

# for K = 1 to 16: the median loss of fresh networks over seeds 0 to 8, and the least loss there is
STARTS = (
    0.786505,
    0.588103,
    0.589202,
    0.542829,
    0.704109,
    0.562084,
    0.510424,
    0.534827,
    0.617982,
    0.67978,
    0.742618,
    0.845998,
    0.738706,
    0.708887,
    0.698124,
    0.600044,
)
BESTS = (
    0.386893444586964,
    0.289322082634892,
    0.240585205402173,
    0.148529181232385,
    0.101019586917512,
    0.0678388041483025,
    0.0402360184654726,
    0.0338823056862841,
    0.0327917161362828,
    0.0308262528822188,
    0.0297356633322175,
    0.0279086680078265,
    0.0268180784578252,
    0.0258823848771111,
    0.0246989765120856,
    0.0236083869620843,
)


@dataclass(frozen=True)
class Step1d(Problem):
    """1-K-1 network of hard steps H(z) = 1[z >= 0] on 128 noisy samples of a staircase, in mean squared error.

    The gradient through a step is zero, so gradient methods train the same forward pass with a straight-through
    estimator (`optbench.core.layers.Step`). Raises ValueError unless K is 1 to 16.
    """

    K: int = 4  # hidden units, so breaks in the fitted staircase (the noiseless one has 7)

    track = "supervised"
    objective_loss = MSE
    gives = frozenset({"value", "grad", "exact"})
    passes = 2000.0
    taus = (0.7, 0.5, 0.1, 1e-2)  # the last two are dp_step's alone
    dtype = torch.float64

    def __post_init__(self) -> None:
        if self.K not in range(1, 17):
            raise ValueError(f"step_1d[K={self.K}]: K is 1 to 16, for which the optimum is stated")

    @property
    def start(self) -> float:
        return STARTS[self.K - 1]

    @property
    def best(self) -> Best:
        return Best(BESTS[self.K - 1], "optimum")

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Linear(1, self.K), Step(), nn.Linear(self.K, 1))

    def data(self) -> Splits:
        return _data()


@cache
def _data() -> Splits:
    """128 / 64 / 64 points: x uniform on [0, 1), (N, 1), and y = its level plus noise, (N, 1), both float64."""
    stream = generator(0, "step_1d")
    x = torch.rand(256, 1, generator=stream, dtype=torch.float64)
    noise = torch.randn(256, 1, generator=stream, dtype=torch.float64)
    levels = torch.tensor(LEVELS, dtype=torch.float64)
    y = levels[(x * len(LEVELS)).long()] + NOISE * noise
    return Splits((x[:128], y[:128]), (x[128:192], y[128:192]), (x[192:], y[192:]))
