"""What operations of torch cost, counted as they run: matrix products and convolutions by torch's own formulas, every
other operation by the numbers that it reads or writes, whichever are more, times what a number costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from math import prod
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import TensorWeakRef

# FLOPs a number of the operations that do more than one; torch's fused steps as their unfused code adds up
COST = {
    "addcmul": 3, "addcdiv": 3, "lerp": 3,
    "_fused_adam": 13, "_fused_adamw": 14, "_fused_adagrad": 8,
}  # fmt: skip
# products that torch's counter does not know, two operations a number of the argument at this place
PRODUCTS = {"dot": 0, "vdot": 0, "mv": 0, "addmv": 1}
# cubic operations, which torch's counter does not know, by their textbook counts for an n x n (m x n) matrix
CUBIC: dict[str, Callable[[int, int], float]] = {
    "linalg_cholesky_ex": lambda m, n: n**3 / 3,
    "cholesky_inverse": lambda m, n: 2 * n**3 / 3,
    "linalg_eigh": lambda m, n: 9 * n**3,
    "_linalg_eigh": lambda m, n: 9 * n**3,
    "_linalg_svd": lambda m, n: 4 * max(m, n) * min(m, n) ** 2 + 22 * min(m, n) ** 3,
    "linalg_qr": lambda m, n: 4 * max(m, n) * min(m, n) ** 2 - 4 * min(m, n) ** 3 / 3,
    "linalg_inv_ex": lambda m, n: 2 * n**3,
    "_linalg_solve_ex": lambda m, n: 2 * n**3 / 3,
    "linalg_lu_factor_ex": lambda m, n: 2 * n**3 / 3,
}
# FLOPs a number that is written by what solves with an n x n factor: a triangle is n, two triangles are 2 n
SUBSTITUTIONS = {
    "linalg_solve_triangular": 1, "triangular_solve": 1,
    "cholesky_solve": 2, "linalg_lu_solve": 2, "lu_solve": 2, "_linalg_solve_ex": 2,
}  # fmt: skip
FREE = """
    detach view _unsafe_view expand t transpose permute slice select split split_with_sizes unbind reshape alias squeeze
    unsqueeze as_strided diagonal unfold lift_fresh empty empty_like new_empty empty_strided zeros zeros_like new_zeros
    ones eye ones_like new_full full full_like fill fill_ zero_ arange scalar_tensor copy_ clone _to_copy contiguous
    stack cat repeat index index_select gather scatter index_put index_put_ _local_scalar_dense
"""  # they move or make numbers and compute none
FRESH = ("lift_fresh", "lift_fresh_copy")  # what `torch.tensor` ends with: the memory that it is given is new
_FREE = frozenset(FREE.split())


class Held:
    """The tensors that an optimizer has made, as long as they are there."""

    def __init__(self) -> None:
        self._made: list[tuple[TensorWeakRef, int, int]] = []  # each with where its memory begins, and that in bytes
        self._at: dict[int, list[TensorWeakRef]] = {}

    def take(self, tensor: torch.Tensor) -> None:
        """One that is new memory, or a view of such."""
        memory = tensor.untyped_storage()
        ref, at = TensorWeakRef(tensor), memory.data_ptr()
        self._made.append((ref, at, memory.nbytes()))
        self._at.setdefault(at, []).append(ref)

    def begins_at(self, at: int) -> bool:
        """Whether one that is there begins here; one that is gone may have left its place to somebody else's."""
        return any(ref() is not None for ref in self._at.get(at, ()))

    def nbytes(self) -> int:
        """Of the memory of those that are still there; the others are forgotten."""
        self._made = [one for one in self._made if one[0]() is not None]
        self._at = {}
        for ref, at, _ in self._made:
            self._at.setdefault(at, []).append(ref)
        return sum({at: nbytes for _, at, nbytes in self._made}.values())


class Watch(TorchDispatchMode):
    """Adds up what the operations of torch cost while it is entered, and keeps an eye on the tensors that they make."""

    def __init__(self, held: Held) -> None:
        """held: takes what they make."""
        super().__init__()
        self.flops = 0.0
        self._held = held
        self.paused = False

    def __enter__(self) -> Watch:
        _entered.append(self)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        _entered.remove(self)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if self.paused:
            return out
        self.flops += cost_of(func, args, kwargs, out)
        results = _results(func)
        if results is None:  # may be views, which are the optimizer's where what they view is
            given = {_storage(tensor) for tensor in _tensors((*args, *kwargs.values()))}
            for tensor in _tensors((out,)):
                if (at := _storage(tensor)) not in given or self._held.begins_at(at):
                    self._held.take(tensor)
        elif results:
            for tensor in _tensors((out,)):
                self._held.take(tensor)
        return out


@cache
def _results(func: Any) -> bool | None:
    """Whether an operation's results are new memory, as its schema says; None where they may be views."""
    if func._overloadpacket.__name__ in FRESH:
        return True
    aliases = [one.alias_info for one in func._schema.returns if one.alias_info is not None]
    if not aliases:
        return True
    return False if all(alias.is_write for alias in aliases) else None  # what is written to was there before


_entered: list[Watch] = []  # those that watch now


@contextmanager
def uncounted() -> Iterator[None]:
    """Nothing in here is anybody's work: for what is found out once a process by trying, not for a trial."""
    stopped = [watch for watch in _entered if not watch.paused]
    for watch in stopped:
        watch.paused = True
    try:
        yield
    finally:
        for watch in stopped:
            watch.paused = False


def _tensors(values: Iterable[Any]) -> list[torch.Tensor]:
    """Those among the arguments or results of an operation: they hold tensors and lists of tensors, nothing deeper."""
    found: list[torch.Tensor] = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found.extend(one for one in value if isinstance(one, torch.Tensor))
    return found


def _storage(tensor: torch.Tensor) -> int:
    """Where a tensor's memory begins."""
    return tensor.untyped_storage().data_ptr()


def seen(work: Callable[[], object]) -> float:
    """FLOPs that this work would count as, were it the optimizer's own."""
    with Watch(Held()) as watch:
        work()
    return watch.flops


def cost_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> float:
    """FLOPs of one call of an operation of torch."""
    formula = _formula(func)
    return formula(args, kwargs, out) if formula else 0.0


Formula = Callable[[tuple[Any, ...], dict[str, Any], Any], float]  # arguments and result -> FLOPs


@cache
def _formula(func: Any) -> Formula | None:
    """What a call of an operation costs; None for one that is free."""
    packet = func._overloadpacket
    name = packet.__name__
    if name in _FREE:
        return None
    if packet in flop_registry:
        return lambda args, kwargs, out: float(flop_registry[packet](*args, **kwargs, out_val=out))
    if name in CUBIC or name in SUBSTITUTIONS:
        return lambda args, kwargs, out: _factorised(name, _tensors(args)[0]) + _substituted(name, out)
    if (place := PRODUCTS.get(name.rstrip("_"))) is not None:
        return lambda args, kwargs, out: 2.0 * args[place].numel()
    if name.startswith("_fused_"):
        return partial(_fused, COST.get(name.rstrip("_")))
    return partial(_by_numbers, COST.get(name.removeprefix("_foreach_").rstrip("_"), 1))


def _fused(each: int | None, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> float:
    """A fused step: its arguments are lists of parameters, gradients and states, and a parameter is one number."""
    plain_sgd = 4 if kwargs.get("momentum") else 2
    return float((each or plain_sgd) * sum(p.numel() for p in args[0]))


def _by_numbers(each: int, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> float:
    """The numbers that are read or written, whichever are more; a + alpha b is an operation more."""
    return float(max(_numbers(args[:1]), _numbers((out,))) * (each + (kwargs.get("alpha", 1) != 1)))


def _numbers(values: tuple[Any, ...]) -> int:
    if len(values) == 1 and isinstance(values[0], torch.Tensor):
        return values[0].numel()
    return sum(tensor.numel() for tensor in _tensors(values))


def _factorised(name: str, matrices: torch.Tensor) -> float:
    """FLOPs of decomposing (..., m, n) matrices."""
    if name not in CUBIC:
        return 0.0
    return prod(matrices.shape[:-2]) * CUBIC[name](matrices.shape[-2], matrices.shape[-1])


def _substituted(name: str, out: Any) -> float:
    """FLOPs of solving for the (..., n, k) numbers that come first in what is written; n for each, or twice n."""
    if name not in SUBSTITUTIONS:
        return 0.0
    solution = _tensors((out,))[0]
    rows = solution.shape[-2] if solution.ndim > 1 else solution.shape[-1]
    return float(SUBSTITUTIONS[name] * rows * solution.numel())
