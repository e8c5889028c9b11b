"""Globally optimal small networks over a grid of weights, by three nested recursions (Bellman 1957).

Over weights (`dp_weights`): which responses a unit can have. Over units (`dp_units`): which sums of contributions the
outputs can be, with symmetry breaking, branch and bound (`dp_bounds`) and two halves met in the middle. Over layers
(`dp_layers`): which activations a deep net can have. Training shares its weights among all samples, so the state of an
honest recursion is the joint activation of all of them; equal states are merged (`dp_merge`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from optbench.core.objective import Inapplicable, Objective
from optbench.optimizers.checks import check, check_count, check_positive
from optbench.optimizers.exact.chain import Chain, read
from optbench.optimizers.exact.dp_layers import Net, train
from optbench.optimizers.exact.dp_merge import Array
from optbench.optimizers.exact.dp_weights import Grid
from optbench.optimizers.exact.work import collected


@dataclass(frozen=True)
class DPGrid:
    """The best of all networks whose weights and biases are grid values, certified over that grid.

    Continuous optimizers are not on the grid and may well end below its optimum. With a penalty R = penalty x
    sum |w|^power the minimum of loss + R is found; the certificate then is the loss there, which no network on the grid
    with no greater R undercuts. With a beam the certificate is an interval.

    Charged: one forward pass for the certificate. Own work: every number that the tables add, multiply or compare
    (`work.did`).
    """

    grid: Any = None  # a tuple of values for every weight and bias, as (-1, 0, 1); None takes the problem's own
    penalty: float = 0.0  # weight of sum |w|^power in what is minimised
    power: float = 2.0  # 2 ridge, 1 lasso, 0 counts the weights that are not 0
    beam: int = 0  # partial networks kept a stage; 0 keeps all, which is exact
    middle: bool = True  # squared error: match the two halves of the units instead of streaming the last one
    cap: float = 2.0  # memory for the tables, in GiB; more is refused before it is allocated

    needs: ClassVar[str] = "exact"
    lanes: ClassVar[bool] = False
    full_batch: ClassVar[bool] = True
    checked_on: ClassVar[tuple[str, ...]] = ("sine_grid_k3_l3",)

    def __post_init__(self) -> None:
        values = self.grid if isinstance(self.grid, tuple) else () if self.grid is None else (self.grid,)
        numbers = all(isinstance(value, int | float) for value in values)
        check(numbers, "grid", self.grid, "a tuple of numbers such as (-1, 0, 1), or None for the problem's own")
        check_positive("penalty", self.penalty, zero=True)
        check_positive("power", self.power, zero=True)
        check_count("beam", self.beam, 0)
        check(isinstance(self.middle, bool), "middle", self.middle, "true or false")
        check_positive("cap", self.cap)

    def minimise(self, f: Objective) -> None:
        structure = f.structure()
        chain = read(structure, ("mse", "bce"), ("identity", "relu", "sigmoid", "sign", "step", "tanh"))
        values = self._values(structure.grid)
        if len(chain.layers) < 2:
            raise Inapplicable("no hidden layer: dp_grid takes at least one")
        if not len(chain.inputs):
            raise Inapplicable("no samples: dp_grid needs at least one")
        cost = self.penalty * np.where(values == 0, 0.0, np.abs(values) ** self.power)
        grid = Grid(values, cost, self.cap, torch.finfo(f.dtype).eps)
        x, y = (tensor.double().cpu().numpy() for tensor in (chain.inputs, chain.targets))
        with collected() as work:
            found = train(x, y, _net(chain), grid, self.beam, self.middle)
        f.charge_own(work.flops)
        row = structure.pack(_tensors(chain, found.weights, chain.inputs))[None].to(f.dtype)
        spent = sum(float(self._penalties(layer).sum()) for layer in found.weights)
        loss = found.value - spent
        scope = f"grid {_braces(values)}"
        if self.penalty:
            scope += f" with {self.penalty:g} sum|w|^{self.power:g} <= {spent:.12g}"
        f.certify(row, min(loss, max(0.0, found.dropped - spent)), loss, scope)

    def _penalties(self, weights: Array) -> Array:
        return self.penalty * np.where(weights == 0, 0.0, np.abs(weights) ** self.power)

    def _values(self, stated: tuple[float, ...] | None) -> Array:
        """The grid's distinct values, ascending. Raises Inapplicable."""
        given = self.grid if self.grid is not None else stated
        if given is None:
            raise Inapplicable("this problem states no weight grid: give one, such as grid=(-1,0,1)")
        values = np.unique(np.array(given, dtype=float))
        if not np.isfinite(values).all():
            raise Inapplicable(f"grid {given}: a value is not finite, give numbers such as grid=(-1,0,1)")
        if len(values) < 2:
            raise Inapplicable(f"grid {given}: it needs at least two distinct values, such as grid=(-1,0,1)")
        return values


def _net(chain: Chain) -> Net:
    return Net(
        hidden=[layer.outputs for layer in chain.layers[:-1]],
        biases=[layer.bias is not None for layer in chain.layers],
        activations=chain.activations,
        outputs=chain.layers[-1].outputs,
        loss=chain.loss,
    )


def _tensors(chain: Chain, weights: list[Array], like: Tensor) -> dict[str, Tensor]:
    """{parameter name: tensor} from every layer's (units, inputs + bias)."""
    tensors: dict[str, Tensor] = {}
    for layer, values in zip(chain.layers, weights, strict=True):
        tensors[layer.weight] = torch.as_tensor(values[:, : layer.inputs]).to(like)
        if layer.bias is not None:
            tensors[layer.bias] = torch.as_tensor(values[:, -1]).to(like)
    return tensors


def _braces(values: Array) -> str:
    """ "{-3..3}" for consecutive whole numbers, else all the values."""
    if (values == np.rint(values)).all() and (np.diff(values) == 1).all() and len(values) > 2:
        return f"{{{values[0]:g}..{values[-1]:g}}}"
    return "{" + ", ".join(f"{value:g}" for value in values) + "}"
