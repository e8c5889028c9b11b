"""The recursion over layers: which sets of activation columns a deep net can have, and the best end for each.

J_l(A) = min_W R(W) + J_{l+1}(sigma(A W^T + b)). The loss depends on the layers up to l only through their activations
A_l (N, K_l), so equal A share a future and the cheapest is kept. A layer uses one grid for all its units, so the order
of its columns is free and a state is a sorted multiset of columns. (Repeated columns must stay: two equal units can
add twice what one can.) The last hidden layer and the output are one recursion over units for each A.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import comb

import numpy as np

from optbench.optimizers.exact.dp_merge import Array, Ints, check_memory, keys, merge, quantum
from optbench.optimizers.exact.dp_sums import Units
from optbench.optimizers.exact.dp_units import Found, beam, check_units, make_loss, solve
from optbench.optimizers.exact.dp_weights import Grid, Responses, actions, offsets, responses


@dataclass(frozen=True)
class Net:
    """A chain of linear layers on a grid: hidden widths, whether each layer has a bias, activations, outputs, loss."""

    hidden: Sequence[int]
    biases: Sequence[bool]  # one more than `hidden`: the output layer's is the last
    activations: Sequence[str]
    outputs: int
    loss: str  # "mse" or "bce"


@dataclass(frozen=True)
class Layer:
    """M distinct activations of one hidden layer, each with the cheapest weights up to there."""

    columns: Array  # (M, K, N), each state's columns in canonical order
    cost: Array  # (M,)
    parent: Ints  # (M,) in the layer before
    weights: Array  # (M, K, W) of the units that made it, bias last


@dataclass
class Solution:
    """The best network found. Exact where `dropped` is infinite."""

    value: float  # loss plus cost
    weights: list[Array]  # a layer each, (units, inputs + bias), the bias last
    dropped: float = np.inf  # beam: nothing that was given up can be below
    states: tuple[int, ...] = ()  # distinct states kept: a hidden layer each, then the sums of its units, at the most


def train(x: Array, y: Array, net: Net, grid: Grid, width: int = 0, middle: bool = True) -> Solution:
    """The net with the least loss plus cost on inputs x (N, I) and targets y (N, O), over all of the grid.

    width: 0 for the exact optimum, else a beam of so many states. Raises Inapplicable where memory would not do.
    """
    layers = [Layer(x.T[None], np.zeros(1), np.zeros(1, np.int64), np.zeros((1, 0, 0)))]
    best = Solution(np.inf, [])
    for k, activation in enumerate(net.activations[:-1]):
        layers.append(_layer(layers[-1], net, k, activation, grid))
        if width and len(layers[-1].columns) > width:
            layers[-1] = _cut(layers[-1], _promise(layers[-1], y)[:width])
            best.dropped = 0.0  # what was cut could still fit everything, for all that is known
    most: list[int] = []
    last = layers[-1]
    for index in _promise(last, y):
        units, single = _ending(last.columns[index].T, float(last.cost[index]), y, net, grid)
        if width:
            found = beam(units, width)
            best.dropped = min(best.dropped, found.dropped)
        else:
            check_units(units, grid.cap, middle)
            found = solve(units, best.value, middle)
        most = [max(a, b) for a, b in zip(found.states, most or found.states, strict=True)]
        if found.choices and found.value < best.value:
            best.value, best.weights = found.value, _weights(layers, int(index), units, single, found)
    best.states = (*(len(layer.columns) for layer in layers[1:]), *most)
    return best


def _layer(before: Layer, net: Net, k: int, activation: str, grid: Grid) -> Layer:
    """Every distinct multiset of columns that hidden layer k can make of the states before it."""
    count, samples = net.hidden[k], before.columns.shape[2]
    parts: list[Layer] = []
    total = 0
    for parent, columns in enumerate(before.columns):
        units = responses(columns.T, grid, net.biases[k], activation)
        total += comb(len(units.rows) + count - 1, count)
        numbers = count * (samples + units.weights.shape[1])
        way_out = "use beam=1000, a coarser grid, fewer samples or a narrower layer"
        check_memory(total, numbers, grid.cap, f"the activations of layer {k + 1}", way_out)
        chosen = np.array(list(combinations_with_replacement(range(len(units.rows)), count)))  # (multisets, K)
        cost = units.cost[chosen].sum(1) + before.cost[parent]
        parts.append(Layer(units.rows[chosen], cost, np.full(len(chosen), parent), units.weights[chosen]))
    names = ("columns", "cost", "parent", "weights")
    whole = Layer(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
    keyed = keys(whole.columns.reshape(len(whole.columns), -1), quantum(float(np.abs(whole.columns).max())))
    return _cut(whole, merge(keyed, whole.cost))


def _cut(layer: Layer, index: Ints) -> Layer:
    return Layer(layer.columns[index], layer.cost[index], layer.parent[index], layer.weights[index])


def _promise(layer: Layer, y: Array) -> Ints:
    """The states in the order of what a linear fit of y to their columns leaves, so that good bounds come early."""
    if len(layer.columns) == 1:
        return np.zeros(1, np.int64)
    ones = np.ones((len(layer.columns), 1, layer.columns.shape[2]))
    basis, size, _ = np.linalg.svd(np.concatenate([layer.columns, ones], 1).transpose(0, 2, 1), full_matrices=False)
    spans = size > 1e-9 * size[:, :1]  # (M, r)
    explained = ((basis.transpose(0, 2, 1) @ y) ** 2).sum(2)  # (M, r)
    return np.argsort(layer.cost - (explained * spans).sum(1) / y.size, kind="stable")


def _ending(columns: Array, cost: float, y: Array, net: Net, grid: Grid) -> tuple[Units, Responses]:
    """The recursion over the last hidden layer's units, whose inputs are `columns` (N, I), and what a unit answers."""
    single = responses(columns, grid, net.biases[-2], net.activations[-1])
    choices = actions(single, grid, net.outputs)
    biases = offsets(grid, len(columns), net.outputs, net.biases[-1])
    biases = Responses(biases.rows, biases.weights, biases.cost + cost)  # what the layers before cost, once
    loss = make_loss(net.loss, y.ravel(), choices, biases)
    return Units(choices, biases, net.hidden[-1], loss), single


def _weights(layers: list[Layer], index: int, units: Units, single: Responses, found: Found) -> list[Array]:
    """Every layer's weights (units, inputs + bias), from the choices that were made."""
    picked = units.choices.weights[found.choices]  # (K, 1 + O): which response, then its outgoing weights
    made = [picked[:, 1:].T]  # (O, K)
    if units.biases.weights.shape[1]:
        made = [np.concatenate([made[0], units.biases.weights[found.bias][:, None]], 1)]
    made.append(single.weights[picked[:, 0].astype(np.int64)])
    for layer in reversed(layers[1:]):
        made.append(layer.weights[index])
        index = int(layer.parent[index])
    return made[::-1]
