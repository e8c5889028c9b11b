"""What one segment of a piecewise-constant fit costs: C(i, j) = min_c sum of loss(c, y) over the groups i <= s < j.

Letters: G groups of samples with equal input, in the order of the input; N samples, sorted by group; O outputs.
Each class gives a column C(0..j-1, j) at a time, so that the table of G^2 costs is never in memory.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
MAX_LOGIT = 30.0  # of logits on pure segments, where the best one is infinite


class Segments(Protocol):
    work: float  # operations an entry of a column

    def column(self, j: int) -> Array:
        """(j,) costs C(0, j) to C(j - 1, j), summed over outputs and not divided by anything."""

    def level(self, i: int, j: int) -> Array:
        """(O,) the outputs that attain C(i, j), or come within exp(-MAX_LOGIT) of its infimum."""

    def cost(self, i: int, j: int) -> float:
        """C(i, j), summed anew from the samples."""


class Squared:
    """sum (c - y)^2: c is the mean. Prefix sums of centred values, so that little cancels."""

    def __init__(self, y: Array, ends: Ints) -> None:
        """y: (N, O) targets; ends: (G + 1,) where each group begins in y, then N."""
        self.y, self.ends = y, ends
        self.work: float = 6 + 3 * (y.shape[1] - 1)
        centred = y - y.mean(0)
        self.count = ends.astype(float)  # (G + 1,)
        self.first = _prefix(centred, ends)  # (O, G + 1)
        self.second = _prefix((centred**2).sum(1, keepdims=True), ends)[0]  # (G + 1,)

    def column(self, j: int) -> Array:
        size = self.count[j] - self.count[:j]
        explained = self.first[0, j] - self.first[0, :j]
        explained *= explained
        for row in self.first[1:]:
            explained += (row[j] - row[:j]) ** 2
        explained /= size
        cost: Array = (self.second[j] - self.second[:j]) - explained
        return cost

    def level(self, i: int, j: int) -> Array:
        mean: Array = self.y[self.ends[i] : self.ends[j]].mean(0)
        return mean

    def cost(self, i: int, j: int) -> float:
        return float(((self.y[self.ends[i] : self.ends[j]] - self.level(i, j)) ** 2).sum())


class Absolute:
    """sum |c - y|: c is a median, found for all i at once by bisection in counts of the sorted values below a rank."""

    def __init__(self, y: Array, ends: Ints) -> None:
        self.y, self.ends = y, ends
        self.outputs = [self._tables(column, ends) for column in y.T]
        self.work: float = sum(6 * len(values).bit_length() + 10 for values, _, _ in self.outputs)

    @staticmethod
    def memory(y: Array, groups: int) -> int:
        """Bytes of the tables: a count and a sum for every distinct value and every group."""
        return sum(12 * len(np.unique(column)) * (groups + 1) for column in y.T)

    @staticmethod
    def _tables(y: Array, ends: Ints) -> tuple[Array, NDArray[np.int32], Array]:
        """(M,) distinct values, and below[r, g], sums[r, g] over the samples of rank <= r in the groups before g."""
        values, rank = np.unique(y - np.median(y), return_inverse=True)
        below = np.zeros((len(values), len(ends)), np.int32)
        sums = np.zeros((len(values), len(ends)))
        group = np.repeat(np.arange(1, len(ends)), np.diff(ends))
        np.add.at(below, (rank, group), 1)
        np.add.at(sums, (rank, group), values[rank])
        for table in (below, sums):
            np.cumsum(table, axis=0, out=table)
            np.cumsum(table, axis=1, out=table)
        return values, below, sums

    def column(self, j: int) -> Array:
        size = self.ends[j] - self.ends[:j]
        half = (size + 1) // 2
        each = np.arange(j)
        total = np.zeros(j)
        for values, below, sums in self.outputs:
            low, high = np.zeros(j, np.int64), np.full(j, len(values) - 1)
            for _ in range(len(values).bit_length()):  # the least rank with at least half of the segment at or below it
                middle = (low + high) // 2
                enough = below[middle, j] - below[middle, each] >= half
                high = np.where(enough, middle, high)
                low = np.where(enough, low, np.minimum(middle + 1, high))
            at_most, under = below[high, j] - below[high, each], sums[high, j] - sums[high, each]
            whole = sums[-1, j] - sums[-1, :j]
            total += values[high] * (2 * at_most - size) + whole - 2 * under
        return total

    def level(self, i: int, j: int) -> Array:
        return np.median(self.y[self.ends[i] : self.ends[j]], axis=0)

    def cost(self, i: int, j: int) -> float:
        return float(np.abs(self.y[self.ends[i] : self.ends[j]] - self.level(i, j)).sum())


class Binary:
    """Binary cross-entropy with a logit an output: n times the entropy of the mean target, logit log(p / (1 - p))."""

    def __init__(self, y: Array, ends: Ints) -> None:
        self.y, self.ends = y, ends
        self.work: float = 1 + 11 * y.shape[1]  # three times x log x an output
        self.count = ends.astype(float)
        self.ones = _prefix(y, ends)  # (O, G + 1)

    def column(self, j: int) -> Array:
        size = self.count[j] - self.count[:j]
        total = np.zeros(j)
        for row in self.ones:
            ones = np.clip(row[j] - row[:j], 0.0, size)
            total += xlogy(size, size) - xlogy(ones, ones) - xlogy(size - ones, size - ones)
        return total

    def level(self, i: int, j: int) -> Array:
        mean = self.y[self.ends[i] : self.ends[j]].mean(0)
        with np.errstate(divide="ignore"):
            logits: Array = np.clip(np.log(mean) - np.log1p(-mean), -MAX_LOGIT, MAX_LOGIT)
        return logits

    def cost(self, i: int, j: int) -> float:
        mean = self.y[self.ends[i] : self.ends[j]].mean(0)
        return float(-(xlogy(mean, mean) + xlogy(1 - mean, 1 - mean)).sum() * (self.ends[j] - self.ends[i]))


class Labels:
    """Cross-entropy over O classes: n times the entropy of the class shares, logits their logarithms."""

    def __init__(self, y: Ints, ends: Ints, classes: int) -> None:
        """y: (N,) labels in 0..classes - 1."""
        self.ends = ends
        self.work: float = 1 + 2 * classes
        self.counts = _prefix(y[:, None] == np.arange(classes), ends).astype(np.int64)  # (O, G + 1)
        sizes = np.arange(ends[-1] + 1.0)
        self.entropy = xlogy(sizes, sizes)  # n log n for every n there can be

    def column(self, j: int) -> Array:
        total: Array = self.entropy[self.ends[j] - self.ends[:j]]
        for row in self.counts:
            total -= self.entropy[row[j] - row[:j]]
        return total

    def level(self, i: int, j: int) -> Array:
        counts = self.counts[:, j] - self.counts[:, i]
        with np.errstate(divide="ignore"):
            logits: Array = np.maximum(np.log(counts / counts.sum()), -MAX_LOGIT)
        return logits

    def cost(self, i: int, j: int) -> float:
        counts = self.counts[:, j] - self.counts[:, i]
        return float(-xlogy(counts, counts / counts.sum()).sum())


def _prefix(values: Array | NDArray[np.bool_], ends: Ints) -> Array:
    """(N, O) -> (O, G + 1) sums over the groups before each."""
    sums = np.zeros((values.shape[1], len(values) + 1))
    np.cumsum(values, axis=0, out=sums[:, 1:].T)
    return np.ascontiguousarray(sums[:, ends])
