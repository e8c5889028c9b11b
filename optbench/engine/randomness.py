"""The random numbers of a stochastic network's forward, drawn lane by lane and handed to it.

A plain module draws from torch's global generator: under vmap a lane's numbers would depend on who trains beside it.
Here one forward is watched for what it draws; then every lane draws the same list from a generator of its own, seeded
by (seed, step), and the forward is given the numbers. They are, bit for bit, what the plain module draws alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_DROPOUTS = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d)
_LIKE = {torch.randn_like: torch.randn, torch.rand_like: torch.rand}
_CHANNELS = _DROPOUTS[1:]  # silence whole channels: one number a sample and channel


class Draw(NamedTuple):
    """One call that draws: numbers of this shape; `keep` is the share that a dropout keeps."""

    function: Callable[..., Tensor]
    shape: torch.Size
    keep: float

    def numbers(self, source: torch.Generator, dtype: torch.dtype) -> Tensor:
        """What the call draws; for a dropout the factors, 0 or 1 / keep."""
        if self.function in _DROPOUTS:
            mask = torch.empty(self.shape, dtype=dtype, device=source.device)
            return mask.bernoulli_(self.keep, generator=source).div_(self.keep)
        return _LIKE[self.function](self.shape, generator=source, dtype=dtype, device=source.device)


def keyed(seed: int, step: int) -> int:
    """The seed of what a network draws at one step of one trial."""
    return seed * 1_000_003 + step


def for_lanes(draws: Sequence[Draw], seeds: Sequence[int], step: int, dtype: torch.dtype, device: str) -> list[Tensor]:
    """For every call of one forward its numbers, (B, *shape)."""
    source = torch.Generator(device)
    lanes = []
    for seed in seeds:
        source.manual_seed(keyed(seed, step))
        lanes.append([draw.numbers(source, dtype) for draw in draws])
    return [torch.stack(numbers) for numbers in zip(*lanes, strict=True)]


@contextmanager
def seeded(seed: int, device: str) -> Iterator[None]:
    """torch's global generator on this device, seeded inside and put back afterwards."""
    if device == "cuda":
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(seed)
            yield
        return
    state = torch.default_generator.get_state()  # fork_rng and manual_seed see to every device: 90 microseconds a step
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.default_generator.set_state(state)


class RandomState:
    """torch's global generator of one kind of device, as it is now."""

    def __init__(self, device: str) -> None:
        self._cuda = device == "cuda"
        self._state = torch.cuda.get_rng_state() if self._cuda else torch.get_rng_state()

    def restore(self) -> None:
        """Put it back as it was."""
        if self._cuda:
            torch.cuda.set_rng_state(self._state)
        else:
            torch.set_rng_state(self._state)


class Watched(TorchFunctionMode):
    """Inside it, `draws` becomes the list of what a forward draws."""

    def __init__(self) -> None:
        super().__init__()
        self.draws: list[Draw] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if draw := _drawn(func, args, kwargs):
            self.draws.append(draw)
        return func(*args, **kwargs)


class Given(TorchFunctionMode):
    """Inside it, a forward draws nothing and takes the given numbers instead, in the order of its calls."""

    def __init__(self, numbers: Sequence[Tensor]) -> None:
        super().__init__()
        self._left = iter(numbers)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not _drawn(func, args, kwargs):
            return func(*args, **kwargs)
        numbers = next(self._left)
        return args[0] * numbers.to(args[0].dtype) if func in _DROPOUTS else numbers


def _drawn(func: Any, args: Any, kwargs: Any) -> Draw | None:
    """What this call draws, if it does."""
    if func in _LIKE:
        return Draw(func, args[0].shape, 1.0)
    if func in _DROPOUTS:
        p, training = _dropout(*args[1:], **{key: value for key, value in kwargs.items() if key != "input"})
        if training and p > 0:
            shape = args[0].shape
            return Draw(func, shape[:2] + (1,) * len(shape[2:]) if func in _CHANNELS else shape, 1.0 - p)
    return None


def _dropout(p: float = 0.5, training: bool = True, inplace: bool = False) -> tuple[float, bool]:
    """The arguments of F.dropout after its input."""
    return p, training
