"""What exact methods read of a problem: a chain of linear layers, its full-batch data, and why it may be refused."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from optbench.core.layers import Sign, Step
from optbench.core.objective import Inapplicable, Structure

ACTIVATIONS: dict[type[nn.Module], str] = {
    nn.Identity: "identity",
    nn.ReLU: "relu",
    nn.Sigmoid: "sigmoid",
    Sign: "sign",
    Step: "step",
    nn.Tanh: "tanh",
}


@dataclass(frozen=True)
class Layer:
    """A linear layer: its parameters' names in the network (bias None where it has none) and its widths."""

    weight: str
    bias: str | None
    inputs: int
    outputs: int

    @property
    def parameters(self) -> int:
        return (self.inputs + (self.bias is not None)) * self.outputs


@dataclass(frozen=True)
class Chain:
    """linear, activation, linear, ..., linear on N samples with O outputs."""

    layers: tuple[Layer, ...]
    activations: tuple[str, ...]  # one fewer than the layers
    inputs: Tensor  # (N, I)
    targets: Tensor  # (N, O), or (N,) int64 labels for cross-entropy
    loss: str

    @property
    def widths(self) -> str:
        """As papers write it: "1-8-8-1"."""
        return "-".join(str(width) for width in (self.layers[0].inputs, *(layer.outputs for layer in self.layers)))


def read(structure: Structure, losses: Collection[str], activations: Collection[str]) -> Chain:
    """The chain, if it is one on these losses and activations. Raises Inapplicable with the limit and the way out."""
    if structure.stochastic:
        raise Inapplicable("the network draws random numbers (dropout), so its loss is no fixed function: remove it")
    if not structure.full_batch:
        raise Inapplicable("minibatches: this method needs all samples at once, run it on the full batch")
    if structure.loss not in losses:
        raise Inapplicable(f"loss {structure.loss!r}: this method takes {_listed(losses)}")
    layers, found = _walk(structure.network)
    if unknown := [name for name in found if name not in activations]:
        raise Inapplicable(f"activation {unknown[0]}: this method takes {_listed(activations)}")
    inputs = structure.inputs
    if inputs.ndim != 2 or inputs.shape[1] != layers[0].inputs:
        raise Inapplicable(f"inputs of shape {tuple(inputs.shape)}: this method takes (N, {layers[0].inputs})")
    targets = _targets(structure, layers[-1].outputs)
    for name, tensor in (("inputs", inputs), ("targets", targets)):
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise Inapplicable(f"the {name} hold a value that is not finite: clean the data")
    return Chain(layers, found, inputs, targets, structure.loss)


def _walk(network: nn.Module) -> tuple[tuple[Layer, ...], tuple[str, ...]]:
    """Layers and the activations between them; two linear layers in a row have the identity between them."""
    layers: list[Layer] = []
    activations: list[str] = []
    seen: set[int] = set()
    for name, module in _flat("", network):
        if type(module) is nn.Linear:
            if len(activations) < len(layers):
                activations.append("identity")
            prefix = f"{name}." if name else ""
            bias = None if module.bias is None else f"{prefix}bias"
            layers.append(Layer(f"{prefix}weight", bias, module.in_features, module.out_features))
        elif type(module) in ACTIVATIONS:
            if len(activations) + 1 != len(layers):
                raise Inapplicable(f"{name} ({type(module).__name__}): an activation stands after one linear layer")
            activations.append(ACTIVATIONS[type(module)])
        else:
            raise Inapplicable(
                f"layer {type(module).__name__}: this method reads nn.Sequential of nn.Linear and activations"
            )
        if id(module) in seen and type(module) is nn.Linear:
            raise Inapplicable(f"layer {name} appears twice (tied weights): give every layer its own weights")
        seen.add(id(module))
    if not layers or len(activations) != len(layers) - 1:
        raise Inapplicable("the network does not end in a linear layer: move its last activation into the loss")
    if any(a.outputs != b.inputs for a, b in pairwise(layers)):
        raise Inapplicable("the widths of consecutive linear layers differ")
    return tuple(layers), tuple(activations)


def _flat(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    if type(module) is nn.Sequential:
        for key, child in module._modules.items():
            assert child is not None
            yield from _flat(f"{name}.{key}" if name else key, child)
    else:
        yield name, module


def _targets(structure: Structure, outputs: int) -> Tensor:
    """(N, O) numbers, or (N,) labels for cross-entropy."""
    targets, samples = structure.targets, len(structure.inputs)
    if structure.loss == "cross-entropy":
        if targets.ndim != 1 or targets.is_floating_point():
            raise Inapplicable(f"targets of shape {tuple(targets.shape)}: cross-entropy takes (N,) integer labels here")
        if len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < outputs:
            raise Inapplicable(f"labels outside 0..{outputs - 1}, the network's outputs")
        return targets
    if targets.numel() != samples * outputs:
        raise Inapplicable(f"targets of shape {tuple(targets.shape)}: this network takes ({samples}, {outputs})")
    targets = targets.reshape(samples, outputs)
    targets = targets if targets.is_floating_point() else targets.to(torch.float64)
    if structure.loss == "bce" and not bool(((targets >= 0) & (targets <= 1)).all()):
        raise Inapplicable("targets outside 0..1: binary cross-entropy takes probabilities")
    return targets


def _listed(names: Collection[str]) -> str:
    ordered = sorted(names)
    return ordered[0] if len(ordered) == 1 else f"{', '.join(ordered[:-1])} or {ordered[-1]}"
