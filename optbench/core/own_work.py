"""What an optimizer computes by itself, between the calls of its oracle: FLOPs and seconds.

Operations of torch are counted as they run: matrix products and convolutions by torch's own formulas, every other
operation by the numbers that it reads or writes, whichever are more, times what a number costs. To watch every
operation would slow the optimizer down, so some stretches between two calls are watched, and the others are taken to
cost what the latest watched ones did on average. Code that is not torch says what it does: `Objective.charge_own`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from time import perf_counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import TensorWeakRef

FIRST = 40  # stretches that are watched at the beginning, and again each time that `GROWTH` times as many have passed
GROWTH = 4
# FLOPs a number of the operations that do more than one; torch's fused steps as their unfused code adds up
COST = {
    "addcmul": 3, "addcdiv": 3, "lerp": 3,
    "_fused_adam": 13, "_fused_adamw": 14, "_fused_adagrad": 8,
}  # fmt: skip
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


class OwnWork:
    """The own work of a lane group; all its lanes share it alike. A context: inside, the oracle answers.

    `counting` covers the whole of the optimizer's work. Outside of it nothing is counted.
    """

    def __init__(self, lanes: int, take_off: Callable[[float], None]) -> None:
        """take_off: takes seconds off the clock of the trial, those that watching adds."""
        self._lanes, self._take_off = lanes, take_off
        self._on = False
        self._watch: _Watch | None = None
        self._since: float | None = None  # when the stretch under way began
        self._total = self._charged = self._left_out = 0.0
        self._latest: list[float] = []  # what the latest watched stretches cost
        self._stretches = self._from = 0  # how many there were, and at which of them the latest watching began
        self._unwatched = 0  # of those that were not watched, how many there were
        self._seconds = self._watched_seconds = 0.0  # and what they took, and what the others did
        self._held: list[TensorWeakRef] = []  # tensors that the optimizer made and holds
        self._state = 0  # the most bytes of them while the oracle answered
        self._owed: list[float] = []  # seconds that watched stretches took, whose usual time is not yet on the clock

    @property
    def flops(self) -> float:
        """Of one lane, so far."""
        return max(0.0, self._total + self._charged - self._left_out) / self._lanes

    @property
    def state_bytes(self) -> int:
        """Of one lane: the most that tensors of the optimizer's own held while the oracle worked, as far as watched.

        Points under evaluation are among them; parameters in training and what the oracle made are not.
        """
        return self._state // self._lanes

    @property
    def charged(self) -> bool:
        """Whether the optimizer has said itself what it did with the data: as own work, or as the problem's."""
        return self._charged > 0 or self._left_out > 0

    @property
    def seconds(self) -> float:
        """Of the group, so far: a watched stretch is taken to last as long as the others do on average."""
        if not self._unwatched:
            return self._watched_seconds
        watched = self._stretches - self._unwatched
        return self._seconds + min(self._usual * watched, self._watched_seconds)

    @property
    def _usual(self) -> float:
        return self._seconds / self._unwatched

    def charge(self, flops: float) -> None:
        """Work of the whole group that is not torch's. Raises ValueError for a negative number."""
        if flops < 0:
            raise ValueError(f"a charge of {flops} FLOPs: nothing is given back")
        self._charged += flops

    def leave_out(self, flops: float) -> None:
        """Work of the group that is charged elsewhere, and would be counted here too."""
        self._left_out += flops

    @contextmanager
    def excluded(self) -> Iterator[None]:
        """The problem's work within a stretch, which cannot end there: inside another operation's backward pass."""
        watch, began = self._watch, perf_counter()
        if watch is not None:
            watch.paused = True
        try:
            yield
        finally:
            if watch is not None:
                watch.paused = False
            if self._since is not None:
                self._since += perf_counter() - began

    def exclude(self, flops: float) -> None:
        """The stretch under way does so much of the problem's work, in FLOPs; one that is not watched counts none."""
        if self._watch is not None:
            self._watch.flops -= flops

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count what happens outside the oracle until the end."""
        self._on = True
        self._begin()
        try:
            yield
        finally:
            if self._watch is not None:
                self._end()  # what follows the last answer of the oracle, a Stop as a rule, is no whole stretch
            self._on, self._since = False, None
            if not self._unwatched:
                self._take_off(-sum(self._owed))

    def __enter__(self) -> None:
        if self._on:
            self._end()

    def __exit__(self, *_: object) -> None:
        if self._on:
            self._begin()

    def _begin(self) -> None:
        if self._stretches >= self._from + FIRST and self._stretches >= GROWTH * max(self._from, FIRST):
            self._from, self._latest = self._stretches, []
        if self._stretches < self._from + FIRST:
            self._watch = _Watch(self._held)
            self._watch.__enter__()
        self._since = perf_counter()

    def _end(self) -> None:
        if self._since is None:
            return
        took, self._since = perf_counter() - self._since, None
        self._stretches += 1
        if self._watch is not None:
            self._watch.__exit__(None, None, None)
            self._total += self._watch.flops
            self._latest.append(self._watch.flops)
            self._held, held = self._watch.held()
            self._state = max(self._state, held)
            self._owed.append(took)
            self._watched_seconds += took
            self._take_off(took)
            self._watch = None
            return
        settled = self._latest[len(self._latest) // 2 :]  # the first of all also set up what the others use
        self._total += sum(settled) / len(settled)
        self._seconds += took
        self._unwatched += 1
        if self._owed:
            self._take_off(
                -min(self._usual * len(self._owed), sum(self._owed))
            )  # they took no less than unwatched ones
            self._owed.clear()


class _Watch(TorchDispatchMode):
    """Adds up what the operations of torch cost while it is entered, and keeps an eye on the tensors that they make."""

    def __init__(self, held: list[TensorWeakRef]) -> None:
        """held: tensors that were made before and are still there."""
        super().__init__()
        self.flops = 0.0
        self._made: list[TensorWeakRef] = []
        self._at: dict[int, list[TensorWeakRef]] = {}  # where the memory of those begins that are there
        for ref in held:
            if (tensor := ref()) is not None:
                self._take(tensor)
        self.paused = False

    def __enter__(self) -> _Watch:
        _entered.append(self)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        _entered.remove(self)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if self.paused:
            return out
        self.flops += cost_of(func, args, kwargs or {}, out)
        given: set[int] = set()
        if func._overloadpacket.__name__ not in FRESH:
            given = {_storage(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)}
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor) and ((at := _storage(leaf)) not in given or self._is_own(at)):
                self._take(leaf)  # new memory, or another view of what the optimizer made
        return out

    def _take(self, tensor: torch.Tensor) -> None:
        self._made.append(TensorWeakRef(tensor))
        self._at.setdefault(_storage(tensor), []).append(self._made[-1])

    def _is_own(self, at: int) -> bool:
        """Whether a tensor that is there begins here; one that is gone may have left its place to somebody else's."""
        return any(ref() is not None for ref in self._at.get(at, ()))

    def held(self) -> tuple[list[TensorWeakRef], int]:
        """The tensors that are still there, and the bytes of their memory."""
        alive = [(ref, tensor) for ref in self._made if (tensor := ref()) is not None]
        sizes = {_storage(tensor): tensor.untyped_storage().nbytes() for _, tensor in alive}
        return [ref for ref, _ in alive], sum(sizes.values())


_entered: list[_Watch] = []  # those that watch now


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


def _storage(tensor: torch.Tensor) -> int:
    """Where a tensor's memory begins."""
    return tensor.untyped_storage().data_ptr()


def seen(work: Callable[[], object]) -> float:
    """FLOPs that this work would count as, were it the optimizer's own."""
    with _Watch([]) as watch:
        work()
    return watch.flops


def cost_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> float:
    """FLOPs of one call of an operation of torch."""
    packet = func._overloadpacket
    name = packet.__name__
    if name in _FREE:
        return 0.0
    if packet in flop_registry:
        return float(flop_registry[packet](*args, **kwargs, out_val=out))
    if name in CUBIC or name in SUBSTITUTIONS:
        first = next(leaf for leaf in tree_leaves(args) if isinstance(leaf, torch.Tensor))
        return _factorised(name, first) + _substituted(name, out)
    if name.startswith("_fused_"):  # lists of parameters, gradients and states: a parameter is one number
        plain_sgd = 4 if kwargs.get("momentum") else 2
        return float(COST.get(name.rstrip("_"), plain_sgd) * sum(p.numel() for p in args[0]))
    read = sum(leaf.numel() for leaf in tree_leaves(args[:1]) if isinstance(leaf, torch.Tensor))
    written = sum(leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor))
    each = COST.get(name.removeprefix("_foreach_").rstrip("_"), 1)
    return float(max(read, written) * (each + (kwargs.get("alpha", 1) != 1)))  # a + alpha b is two operations


def _factorised(name: str, matrices: torch.Tensor) -> float:
    """FLOPs of decomposing (..., m, n) matrices."""
    if name not in CUBIC:
        return 0.0
    return prod(matrices.shape[:-2]) * CUBIC[name](matrices.shape[-2], matrices.shape[-1])


def _substituted(name: str, out: Any) -> float:
    """FLOPs of solving for the (..., n, k) numbers that come first in what is written; n for each, or twice n."""
    if name not in SUBSTITUTIONS:
        return 0.0
    solution = next(leaf for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor))
    rows = solution.shape[-2] if solution.ndim > 1 else solution.shape[-1]
    return float(SUBSTITUTIONS[name] * rows * solution.numel())
