"""Globally optimal networks of hard steps on one input, by optimal segmentation (Bellman 1961, CACM 4(6):284).

A network Linear(1, K), step, Linear(K, O) is, on its data, a piecewise-constant function with at most K breaks that all
outputs share, and every such function is one of these networks. So training it is choosing the breaks: with
C(i, j) the cost of fitting one constant to the groups i <= s < j of equal inputs,
D_0[j] = C(0, j), D_k[j] = min_{i < j} D_{k-1}[i] + C(i, j), and the least loss is min_{k <= K} D_k[G].
It costs O(K G^2) time and O(K G) memory, and is exact for any loss that adds over samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from optbench.core.objective import Inapplicable, Objective
from optbench.optimizers.checks import check_count, check_positive
from optbench.optimizers.exact.chain import Chain, read
from optbench.optimizers.exact.dp_segments import Absolute, Array, Binary, Ints, Labels, Segments, Squared

SATURATED = 110.0  # sigmoid(+-SATURATED) and tanh(+-SATURATED) are 0, 1 and -1 to the last bit of float32
GIGABYTE = 2**30


@dataclass(frozen=True)
class DPStep:
    """Dynamic programming over the breaks of a 1-K-O step network: the optimum over all real weights, certified.

    On hard steps (`Step`, `Sign`) the certificate is exact: nothing in continuous weights is below it. With
    cross-entropy it is an infimum, approached to about exp(-30). A sigmoid or tanh network gets the same staircase
    with steep slopes, which is an upper bound only; its lower bound is what no function of the input can undercut,
    the spread of targets at equal inputs.

    Charged: one forward pass for the certificate, one more on a sigmoid or tanh network. Own work: the entries of the
    table (`table_work`).
    """

    points: int = 5000  # distinct inputs at most, since the table takes K G^2 operations
    cap: float = 2.0  # memory for the tables of the L1 loss, in GiB

    needs: ClassVar[str] = "exact"
    lanes: ClassVar[bool] = False
    full_batch: ClassVar[bool] = True
    checked_on: ClassVar[tuple[str, ...]] = ("step_1d",)

    def __post_init__(self) -> None:
        check_count("points", self.points, 1)
        check_positive("cap", self.cap)

    def minimise(self, f: Objective) -> None:
        structure = f.structure()
        chain = read(structure, ("mse", "l1", "bce", "cross-entropy"), ("step", "sign", "sigmoid", "tanh"))
        self._check(chain)
        hidden, outputs = chain.layers[0].outputs, chain.layers[1].outputs
        order = torch.argsort(chain.inputs[:, 0], stable=True)
        x, counts = torch.unique_consecutive(chain.inputs[order, 0], return_counts=True)  # (G,)
        if len(x) > self.points:
            raise Inapplicable(f"{len(x)} distinct inputs, points={self.points} at most: raise points or use fewer")
        ends = np.concatenate([[0], counts.cumsum(0).cpu().numpy()])
        segments = self._segments(chain, order, ends, outputs)
        breaks = segment(segments, len(x), hidden)
        f.charge_own(table_work(segments, len(x), hidden))
        levels = np.stack([segments.level(i, j) for i, j in _spans(breaks, len(x))])  # (breaks + 1, O)
        thresholds = _thresholds(x, breaks)
        weights = _weights(chain, x, thresholds, torch.as_tensor(levels).to(x))
        row = structure.pack(weights)[None].to(f.dtype)
        terms = len(chain.inputs) * (1 if chain.loss == "cross-entropy" else outputs)  # that the loss is the mean of
        if chain.activations[0] in ("step", "sign"):
            least = sum(segments.cost(i, j) for i, j in _spans(breaks, len(x))) / terms
            f.certify(row, least, _attained(chain, order, ends, breaks, levels), "continuous weights")
        else:
            upper = float(f.value(row[:, None]))
            spread = sum(segments.cost(g, g + 1) for g in range(len(x))) / terms
            f.certify(row, min(spread, upper), upper, "continuous weights")

    def _check(self, chain: Chain) -> None:
        if len(chain.layers) != 2:
            raise Inapplicable(f"{len(chain.layers) - 1} hidden layers in {chain.widths}: dp_step takes one")
        if chain.layers[0].inputs != 1:
            raise Inapplicable(f"input dimension {chain.layers[0].inputs}: dp_step takes 1, dp_grid takes more")
        if any(layer.bias is None for layer in chain.layers):
            raise Inapplicable("a layer without bias: dp_step needs both to place its breaks and levels")
        if not len(chain.inputs):
            raise Inapplicable("no samples: dp_step needs at least one")

    def _segments(self, chain: Chain, order: Tensor, ends: Ints, outputs: int) -> Segments:
        y = chain.targets[order].cpu().numpy()
        if chain.loss == "cross-entropy":
            return Labels(y, ends, outputs)
        y = y.astype(float)
        if chain.loss == "l1":
            needed = Absolute.memory(y, len(ends) - 1) / GIGABYTE
            if needed > self.cap:
                raise Inapplicable(f"L1 tables of {needed:.2g} GiB, cap={self.cap:g}: raise cap or use fewer samples")
            return Absolute(y, ends)
        return Squared(y, ends) if chain.loss == "mse" else Binary(y, ends)


def segment(segments: Segments, groups: int, breaks: int) -> list[int]:
    """Where the best segmentation of `groups` groups with at most `breaks` breaks begins anew, ascending.

    Of equally good ones, one with the fewest breaks.
    """
    breaks = min(breaks, groups - 1)
    table = np.full((breaks + 1, groups + 1), np.inf)  # D_k[j], with D_0[0] = 0 for the empty prefix
    sums = np.empty((breaks, groups))
    for j in range(1, groups + 1):
        column = segments.column(j)
        table[0, j] = column[0]
        # Row k of the sums is D_{k}[i] + C(i, j); every entry with fewer than k + 1 groups before i is infinite.
        now = np.add(table[:-1, :j], column, out=sums[:, :j])
        now.min(axis=1, out=table[1:, j])
    k = int(table[:, groups].argmin())
    found, j = [], groups
    for layer in range(k, 0, -1):
        j = int((table[layer - 1, :j] + segments.column(j)).argmin())
        found.append(j)
    return found[::-1]


def table_work(segments: Segments, groups: int, breaks: int) -> float:
    """Operations of `segment`: each of the G (G + 1) / 2 costs C(i, j), added and compared once for every break."""
    return groups * (groups + 1) / 2 * (segments.work + 2 * min(breaks, groups - 1))


def _spans(breaks: list[int], groups: int) -> list[tuple[int, int]]:
    return list(zip([0, *breaks], [*breaks, groups], strict=True))


def _thresholds(x: Tensor, breaks: list[int]) -> Tensor:
    """(k,) in the inputs' own precision: midway between the neighbours, and above the left one in any case."""
    right = torch.tensor(breaks, dtype=torch.int64, device=x.device)
    low, high = x[right - 1], x[right]
    middle = low / 2 + high / 2
    return torch.where((middle > low) & (middle <= high), middle, high)


def _weights(chain: Chain, x: Tensor, thresholds: Tensor, levels: Tensor) -> dict[str, Tensor]:
    """The staircase as weights: w x + b crosses zero at its threshold, v the rises; spare units have v = 0."""
    first, second = chain.layers
    assert first.bias is not None and second.bias is not None
    used = len(thresholds)
    slope = torch.ones_like(thresholds)
    if chain.activations[0] in ("sigmoid", "tanh") and used:
        slope = SATURATED / (x[None] - thresholds[:, None]).abs().min(1).values
    w, b = x.new_zeros(first.outputs, 1), x.new_zeros(first.outputs)
    w[:used, 0], b[:used] = slope, -slope * thresholds
    v, bias = x.new_zeros(second.outputs, first.outputs), levels[0]
    v[:, :used] = levels.diff(dim=0).T
    if chain.activations[0] in ("sign", "tanh"):  # a rise of 2 where a step rises by 1, around the middle
        v, bias = v / 2, (levels[0] + levels[-1]) / 2
    return {first.weight: w, first.bias: b, second.weight: v, second.bias: bias}


def _attained(chain: Chain, order: Tensor, ends: Ints, breaks: list[int], levels: Array) -> float:
    """The mean loss of the staircase itself: above the infimum where logits had to be capped."""
    spans = _spans(breaks, len(ends) - 1)
    sizes = [ends[j] - ends[i] for i, j in spans]
    outputs = torch.as_tensor(np.repeat(levels, sizes, axis=0))  # (N, O)
    targets = chain.targets[order].cpu()
    if chain.loss == "cross-entropy":
        return float(F.cross_entropy(outputs, targets))
    if chain.loss == "bce":
        return float(F.binary_cross_entropy_with_logits(outputs, targets.double()))
    error = outputs - targets.double()
    return float((error**2 if chain.loss == "mse" else error.abs()).mean())
