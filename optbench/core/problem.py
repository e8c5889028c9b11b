"""What a problem is: a network, a loss and data. An author writes plain PyTorch and nothing else."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from optbench.core import dividing, found_out
from optbench.core.losses import Loss
from optbench.core.trial import LOWEST_SEEN

Batch = tuple[Tensor, ...]  # tensors that share axis 0, one row a sample; usually (inputs, targets)
Net = Callable[..., Tensor]  # the module, or a functional stand-in that is called just like it

TRACKS = ("function", "supervised", "unsupervised", "reinforcement")
ORACLES = ("value", "grad", "exact")
PRECISIONS = ("float32", "bf16")  # of an optimizer's evaluations; bf16: torch's autocast, parameters stay float32
FULL = PRECISIONS[0]
TAUS = (0.5, 0.1, 1e-2, 1e-3)
MAX_START_SAMPLES = 4096  # that a start is measured on


class Splits(NamedTuple):
    """The fixed split of a problem's data. A function has one empty sample and no other split."""

    train: Batch
    valid: Batch | None = None
    test: Batch | None = None


@dataclass(frozen=True)
class Best:
    """The lowest training loss there is, as far as is known, and how that is known.

    source: "optimum" (known in closed form or proved), "bound" (nothing is lower, perhaps nothing reaches it),
    "best known" (the lowest anyone here has seen), or LOWEST_SEEN, with NaN: nobody knows, a study tells.
    """

    value: float
    source: str


class Known(NamedTuple):
    """What is stated for some settings: the start, and the lowest loss seen where it is no class attribute."""

    start: float
    best: float | None = None


class Problem:
    """Subclass it as a frozen dataclass whose fields are the problem's settings: `network`, `data` and `loss` suffice.

    A problem whose network answers a batch (inputs, targets) by outputs states `objective_loss`, and has a loss and its
    metrics. Any other one writes `loss` itself. State the class attributes that you know; what can be found out is.

    `start` and `best` are data, verified by the tests: the median training loss of a fresh network over seeds 0 to 8,
    and the lowest loss known. Targets follow from them and so never depend on who else entered. State either as a class
    attribute, or by `known` where settings change it. A start that is not stated is measured. Where no best loss and no
    bound is stated, a report takes the lowest loss seen in its study, and says so.

    More than ten public methods, nearly all of them facts that a class attribute may state instead.
    """

    objective_loss: ClassVar[Loss | None] = None  # MSE, L1, BCE, CROSS_ENTROPY or one of your own
    bound: ClassVar[float | None] = None  # nothing is below it; `best` where no better is known
    gives: ClassVar[frozenset[str]] = frozenset({"value", "grad"})  # the oracles that it answers
    instead_of_gradients: ClassVar[str] = ""  # what a user may do who wants them, where it gives none
    passes: ClassVar[float] = 100.0  # the default budget
    batch: ClassVar[int | None] = None  # the default minibatch; None is the full batch
    variation: ClassVar[int] = 0  # numbers a sample that `varied` takes; 0: minibatches see the data as they are

    @property
    def track(self) -> str:
        """ "function", "supervised", "unsupervised" or "reinforcement": as stated, else by what a batch holds."""
        return found_out.track(self)

    @property
    def dtype(self) -> torch.dtype:
        """The type of parameters: as stated, else that of the data."""
        return found_out.dtype(self)

    @property
    def stochastic(self) -> bool:
        """Whether a training forward draws random numbers, as dropout does: as stated, else as seen."""
        return found_out.stochastic(self)

    @property
    def vmaps(self) -> bool:
        """Whether torch.vmap can batch the network; else it runs lane by lane. As stated, else as tried."""
        return found_out.vmaps(self)

    @property
    def loss_name(self) -> str:
        """ "mse", "l1", "bce", "cross-entropy", "reward" or the like: what exact methods and tables read.

        As stated, else the torch function that the loss calls last, else "own".
        """
        return self.objective_loss.name if self.objective_loss is not None else found_out.loss_name(self)

    @property
    def known(self) -> Known | None:
        """What is stated for these settings; None where nobody has measured them."""
        return None

    @property
    def start(self) -> float:
        """Median training loss of a fresh network: as stated, else measured."""
        return self.known.start if self.known else measured_start(self)

    @property
    def best(self) -> Best:
        """The lowest training loss known, with its source: as stated, else the bound, else left to the study."""
        if self.known and self.known.best is not None:
            return Best(self.known.best, "best known")
        return Best(math.nan, LOWEST_SEEN) if self.bound is None else Best(self.bound, "bound")

    @property
    def taus(self) -> tuple[float, ...]:
        """The targets, each as how much of the way from `start` down to `best` is still to go.

        A problem states its own where some of these separate no optimizers: all or none reach them at the default
        budget (docs/problems.md).
        """
        return TAUS

    @property
    def gradient_evaluations(self) -> int:
        """Evaluations that the gradient of a function costs beside its value: one by automatic differentiation (Baur &
        Strassen 1983), more where it is made of values. Where FLOPs are counted, they say what a gradient costs."""
        return 1

    def begin(self) -> None:
        """A trial begins: what the problem keeps from one evaluation to the next, as a stream of noise, starts anew."""

    def evaluate(self, points: Tensor) -> Tensor | None:
        """(P, D) candidates -> (P,) losses where the problem has a way of its own to them, as compiled code of others;
        None where its network is run."""
        return None

    def network(self) -> nn.Module:
        """A fresh network, initialised from torch's global random state (which the caller seeds)."""
        raise NotImplementedError(f"{type(self).__name__} has no network()")

    def data(self) -> Splits:
        """The data, the same at every call, featurised on the training split alone."""
        raise NotImplementedError(f"{type(self).__name__} has no data()")

    def varied(self, batch: Batch, numbers: Tensor) -> Batch:
        """A minibatch of training data as an optimizer sees it, such as pictures mirrored; scores see the data.

        numbers: (n, `variation`), uniform in [0, 1), drawn anew for each minibatch by the seed of the trial.
        """
        return batch

    @property
    def data_files(self) -> tuple[Path, ...]:
        """Files of a user that `data` reads, as far as they are there: trials run again where one of them changes."""
        return ()

    def loss(self, net: Net, batch: Batch) -> Tensor:
        """The mean loss over the batch, a scalar tensor."""
        if self.objective_loss is None:
            raise NotImplementedError(f"{type(self).__name__} has neither `objective_loss` nor loss()")
        x, y = batch
        return self.objective_loss(net(x), y)

    def metrics(self, net: Net, batch: Batch) -> dict[str, Tensor]:
        """What else to know of a split, as scalar tensors; called in eval mode, off the clock, never metered."""
        if self.objective_loss is None or not self.objective_loss.metrics:
            return {}
        x, y = batch
        outputs = net(x)
        return {name: metric(outputs, y) for name, metric in self.objective_loss.metrics}

    @property
    def targets(self) -> dict[float, float]:
        """{tau: the training loss best + tau (start - best)}; none where the best loss is left to the study."""
        best = self.best.value
        return {} if math.isnan(best) else {tau: best + tau * (self.start - best) for tau in self.taus}


def fresh(problem: Problem, seed: int, count: int = 1) -> list[nn.Module]:
    """`count` networks in a row from one seeded stream; the global random state is left as it was.

    The first is what `torch.manual_seed(seed); problem.network()` gives.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return [problem.network().to(problem.dtype) for _ in range(count)]


def dimension(problem: Problem) -> int:
    """D, the number of parameters of the problem's network."""
    return sum(p.numel() for p in fresh(problem, 0)[0].parameters())


@cache
def measured_start(problem: Problem, split: str = "train") -> float:
    """The median loss of fresh networks over seeds 0 to 8, in eval mode: of the training data, what `start` states.

    split: "train", "valid" or "test", which the problem must have. Its first `MAX_START_SAMPLES` stand for it, where it
    has more. A problem is a frozen dataclass, so each is measured once a process.
    """
    batch = tuple(tensor[:MAX_START_SAMPLES] for tensor in getattr(problem.data(), split))
    with torch.no_grad():
        losses = [problem.loss(fresh(problem, seed)[0].eval(), batch).item() for seed in range(9)]
    return float(np.median(losses))


def generator(seed: int, purpose: str, device: str = "cpu") -> torch.Generator:
    """A generator of its own for one purpose of one seed, so that streams never share numbers."""
    digest = hashlib.sha256(f"{purpose}:{seed}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def split(samples: int, shares: Sequence[float] = (0.7, 0.15, 0.15), seed: int = 0) -> list[Tensor]:
    """Disjoint index tensors that cover range(samples), fixed by the seed: for train, valid and test.

    A run with several splits asks for others, see `core.dividing`.
    """
    if abs(sum(shares) - 1) > 1e-9 or min(shares) <= 0:
        raise ValueError(f"shares {tuple(shares)} are not positive parts of 1")
    order = torch.randperm(samples, generator=generator(seed, dividing.purpose()))
    ends = [round(samples * sum(shares[: k + 1])) for k in range(len(shares))]
    return [order[a:b].sort().values for a, b in zip([0, *ends[:-1]], ends, strict=True)]
