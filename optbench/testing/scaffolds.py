"""What `new optimizer` and `new problem` write: a file that already runs and passes `check`."""

from __future__ import annotations

import importlib.util
import keyword
from pathlib import Path

from optbench.core.trial import RequestError
from optbench.optimizers import OPTIMIZERS
from optbench.problems import PROBLEMS

_OPTIMIZER = '''"""{name}: a (1+1) evolution strategy with the one-fifth rule (Rechenberg 1973), to start from."""

from dataclasses import dataclass
from typing import ClassVar

import torch


@dataclass(frozen=True)
class {cls}:
    """Mutate the point with normal noise, keep what is better, adapt the step size."""

    sigma: float = 0.1  # first standard deviation of a mutation, in units of the parameters

    name: ClassVar[str] = "{name}"  # what suites call it
    needs: ClassVar[str] = "value"  # "value" losses of points, "grad" gradients too
    lanes: ClassVar[bool] = True  # axis 0 of everything is independent trials
    space: ClassVar[dict] = {{"sigma": (1e-3, 1.0, "log")}}  # what `run --tune 8` draws settings from

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise ValueError(f"sigma={{self.sigma}} must be positive")

    def minimise(self, f) -> None:
        x = f.start()  # (B, D): B lanes, D parameters
        best = f.value(x[:, None])  # (B, 1): one candidate a lane
        sigma = torch.full_like(best, self.sigma)
        while True:  # f raises Stop when the budget is spent: let it pass
            y = x + sigma * f.randn(f.dim)
            loss = f.value(y[:, None])
            better = loss <= best
            x, best = torch.where(better, y, x), torch.where(better, loss, best)
            sigma = sigma * torch.where(better, 1.5, 1.5**-0.25)

    # A method that uses gradients states needs = "grad", and its loop is shorter; sigma would be its step size:
    #
    #     def minimise(self, f) -> None:
    #         x = f.start()  # (B, D)
    #         while True:
    #             loss, gradient = f.value_and_grad(x)  # (B,), (B, D)
    #             x = x - self.sigma * gradient
'''

_PROBLEM = '''"""{name}: which of two interleaved spirals a point is on, to start from."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from optbench import Best, Problem, Splits, split


@dataclass(frozen=True)
class {cls}(Problem):
    """Two spirals, a small tanh network, binary cross-entropy."""

    width: int = 16  # hidden units

    name: ClassVar[str] = "{name}"  # what suites call it
    track: ClassVar[str] = "supervised"
    loss_name: ClassVar[str] = "bce"
    passes: ClassVar[float] = 200.0  # the default budget
    start: ClassVar[float] = 0.699  # median training loss of a fresh network; `check` verifies it
    best: ClassVar[Best] = Best(0.0, "bound")

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Linear(2, self.width), nn.Tanh(), nn.Linear(self.width, 1))

    def data(self) -> Splits:
        draw = torch.Generator().manual_seed(0)
        angle = 1 + 2 * torch.pi * torch.rand(600, generator=draw)
        side = torch.arange(600) % 2
        arm = angle + torch.pi * side
        x = torch.stack([angle * arm.cos(), angle * arm.sin()], 1) / 7 + 0.02 * torch.randn(600, 2, generator=draw)
        return Splits(*((x[index], side[index].float()) for index in split(600)))

    def loss(self, net, batch):
        x, y = batch
        return F.binary_cross_entropy_with_logits(net(x).squeeze(-1), y)

    def metrics(self, net, batch):
        x, y = batch
        return {{"accuracy": ((net(x).squeeze(-1) > 0) == (y > 0.5)).float().mean()}}
'''


def write(kind: str, name: str) -> Path:
    """Write NAME.py into the current folder.

    Raises RequestError for a name that is no module's or is taken, a file that is there and a folder that takes none.
    """
    cls = "".join(part.capitalize() for part in name.split("_"))
    if not (name.isidentifier() and cls.isidentifier()) or keyword.iskeyword(name) or name != name.lower():
        raise RequestError(f"{name!r} is no module name; use a lower-case letter, then letters, digits and underscores")
    path = Path(f"{name}.py")
    if path.exists():
        raise RequestError(f"{path} is there already; choose another name")
    if name in (OPTIMIZERS if kind == "optimizer" else PROBLEMS):
        raise RequestError(f"{name!r} is a built-in {kind}; choose another name")
    if importlib.util.find_spec(name):
        raise RequestError(f"{path} would hide the installed module {name!r} from Python; choose another name")
    text = (_OPTIMIZER if kind == "optimizer" else _PROBLEM).format(name=name, cls=cls)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RequestError(f"cannot write {path.resolve()}: {error.strerror}") from None
    return path
