"""What a problem is, where its author does not state it: found out from its network, its data and its loss.

Each answer is found once a process, on a few samples; a problem is hashable. The global random state is left as it was.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

Problem = Any  # a core.problem.Problem: that module asks this one
Batch = tuple[Tensor, ...]

OWN_LOSS = "own"  # the name of a loss that is no known function of outputs and targets
MAX_SAMPLES = 8  # that a question is asked on; batch normalisation needs more than one
_NAMES = {
    F.cross_entropy: "cross-entropy",
    F.mse_loss: "mse",
    F.l1_loss: "l1",
    F.binary_cross_entropy_with_logits: "bce",
    F.nll_loss: "nll",
    F.smooth_l1_loss: "smooth-l1",
    F.huber_loss: "huber",
}


@lru_cache(maxsize=64)
def some_samples(problem: Problem) -> Batch:
    """The first samples of the training split."""
    return tuple(tensor[:MAX_SAMPLES].clone() for tensor in problem.data().train)


@cache
def track(problem: Problem) -> str:
    """ "function" without samples, "unsupervised" with one tensor a batch, else "supervised".

    Reinforcement cannot be told from the data: its author states it.
    """
    batch = some_samples(problem)
    if batch[0].numel() == 0:
        return "function"
    return "supervised" if len(batch) > 1 else "unsupervised"


@cache
def dtype(problem: Problem) -> torch.dtype:
    """The type of the first real tensor of the data; of the network, where the data hold none."""
    for tensor in some_samples(problem):
        if tensor.is_floating_point() and tensor.numel():
            return tensor.dtype
    with _own_stream():
        kinds = [p.dtype for p in problem.network().parameters() if p.is_floating_point()]
    return kinds[0] if kinds else torch.float32


@cache
def stochastic(problem: Problem) -> bool:
    """Whether a training forward moves torch's global random state, as dropout does."""
    with _own_stream(), torch.no_grad():
        module = problem.network().to(problem.dtype)
        before = torch.get_rng_state()
        problem.loss(module, some_samples(problem))
        return not torch.equal(before, torch.get_rng_state())


@cache
def changing_buffers(problem: Problem) -> tuple[str, ...]:
    """The buffers that a training forward changes, as batch normalisation's running statistics, by name."""
    with _own_stream(), torch.no_grad():
        module = problem.network().to(problem.dtype)
        before = {name: b.clone() for name, b in module.named_buffers()}
        if not before:
            return ()
        problem.loss(module, some_samples(problem))
        return tuple(name for name, b in module.named_buffers() if not torch.equal(b, before[name]))


@cache
def loss_name(problem: Problem) -> str:
    """The known function whose value the loss is as it stands, by its name; else `OWN_LOSS`."""
    with _own_stream(), torch.no_grad(), _Losses() as seen:
        loss = problem.loss(problem.network().to(problem.dtype), some_samples(problem))
    return next((name for name, value in seen.values if value is loss), OWN_LOSS)


class _Losses(TorchFunctionMode):
    """Inside it, `values` becomes what the known losses gave."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[tuple[str, Tensor]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func in _NAMES:
            self.values.append((_NAMES[func], found))
        return found


@cache
def vmaps(problem: Problem) -> bool:
    """Whether torch.vmap trains two networks of this problem at once as it trains each by itself.

    Buffers, as batch normalisation has them, are one set a network.
    """
    if "grad" not in problem.gives:
        return _values_agree(problem)
    return _gradients_agree(problem)


def _network_of(problem: Problem) -> nn.Module:
    """One that nobody else has: `functional_call` leaves its values in a module that appears twice in a network."""
    return copy.deepcopy(problem.network()).to(problem.dtype)


def _gradients_agree(problem: Problem) -> bool:
    batch = some_samples(problem)
    with _own_stream():
        nets = [_network_of(problem) for _ in range(2)]
        drawing = problem.stochastic
        try:
            own = []
            for net in nets:
                state = {name: b.clone() for name, b in net.named_buffers()}
                loss = problem.loss(net, batch)
                found = torch.autograd.grad(loss, list(net.parameters()), allow_unused=True)
                own.append(
                    [torch.zeros_like(p) if g is None else g for g, p in zip(found, net.parameters(), strict=True)]
                )
                with torch.no_grad():
                    for name, b in net.named_buffers():
                        b.copy_(state[name])
            rows, states = _stacked(nets)
            call = vmap(grad_and_value(_loss_of(problem, nets[0]), has_aux=True), randomness="same")
            together, _ = call(rows, states, tuple(torch.stack([tensor, tensor]) for tensor in batch))
        except Exception:  # whatever vmap raises for this network
            return False
    if drawing:
        return True  # its random numbers are given to each lane, `engine.randomness`: they differ here
    names = [name for name, _ in nets[0].named_parameters()]
    largest = max(float(g.abs().max()) for g in own[0])  # of a bias before batch normalisation all is rounding
    if not math.isfinite(largest):
        return False  # of data that are no numbers nothing can be found out
    return all(
        torch.allclose(together[name][k], own[k][j], rtol=1e-3, atol=1e-4 * largest + 1e-7)
        for j, name in enumerate(names)
        for k in range(2)
    )


def _values_agree(problem: Problem) -> bool:
    batch = some_samples(problem)
    with _own_stream(), torch.no_grad():
        nets = [_network_of(problem) for _ in range(2)]
        try:
            rows, states = _stacked(nets)
            call = vmap(_loss_of(problem, nets[0]), randomness="same")
            together = call(rows, states, tuple(torch.stack([tensor, tensor]) for tensor in batch))[0]
        except Exception:
            return False
        own = torch.stack([problem.loss(net, batch) for net in nets])
    return problem.stochastic or torch.allclose(together, own, rtol=1e-3)


def _stacked(nets: list[nn.Module]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Parameters and buffers of networks, each with the networks as axis 0."""
    parameters = [{name: p.detach() for name, p in net.named_parameters()} for net in nets]
    buffers = [dict(net.named_buffers()) for net in nets]
    return (
        {name: torch.stack([one[name] for one in parameters]) for name in parameters[0]},
        {name: torch.stack([one[name] for one in buffers]) for name in buffers[0]},
    )


def _loss_of(problem: Problem, module: nn.Module) -> Callable[..., tuple[Tensor, dict[str, Tensor]]]:
    """The loss as a function of parameters, buffers and a batch; with it come the buffers as they are then."""

    def loss(parameters: dict[str, Tensor], state: dict[str, Tensor], batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        buffers = {name: value.clone() for name, value in state.items()}

        def net(*args: Any, **kwargs: Any) -> Tensor:
            return functional_call(module, {**parameters, **buffers}, args, kwargs)

        return problem.loss(net, batch), buffers

    return loss


@contextmanager
def _own_stream() -> Iterator[None]:
    """torch's global random state, seeded inside and put back afterwards; gradients are on, whoever asks."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        yield
