"""The optimizer's side of `run --isolate`: its process, and the objective that it sees there.

The problem, its data, the meter and the scorer are in another process. What comes over is points, losses and gradients.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cache, cached_property
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor, nn

from optbench.core.objective import OracleError, Stop
from optbench.core.own_work import OwnWork
from optbench.core.parameters import ManyLanes, OneLane
from optbench.core.structure import Inapplicable
from optbench.execution.board import Board
from optbench.execution.host import END, READY
from optbench.execution.lane_group import train
from optbench.execution.offspring import leave
from optbench.execution.worker import EXIT_ORPHAN, Begun, prepare
from optbench.registry.catalog import Catalog
from optbench.registry.process_state import unchanged_process
from optbench.registry.specs import one_line

MAX_STEPS = 100  # that are begun without a question
MAX_MESSAGE_BYTES = 2**24  # of a message from the problem: the names and shapes of all parameters are in one
ERRORS: dict[str, type[Exception]] = {"ValueError": ValueError, "OracleError": OracleError, "TypeError": TypeError}


def serve(connection: Connection, begun: Begun) -> None:
    """Train once for every problem that is announced, until the other process is gone.

    connection: to the process of the problem, whose core is this one's too: one of the two waits at any time.
    """
    prepare(begun)
    catalog: Catalog | None = None
    while True:
        try:
            about = json.loads(connection.recv_bytes(MAX_MESSAGE_BYTES))
        except (EOFError, OSError):
            leave(0)
        own: list[float] = []
        with unchanged_process():
            try:
                catalog = catalog or Catalog(begun.files, moved=dict(begun.options.moved))
                f = IsolatedObjective(connection, about)
                built = [catalog.optimizer(about["name"], hyper).optimizer for hyper in about["hypers"]]
                optimizer = built[0] if len(built) == 1 else built[0].together(built)  # type: ignore[attr-defined]
                _say(connection, [READY])
                status, reason = train(optimizer, f, about["seed"])  # type: ignore[arg-type]
                own = f.own_flops
            except BaseException as error:
                status, reason = "failed", one_line(error)
        _say(connection, [END, status, reason, own])


class Known(NamedTuple):
    """What an optimizer is told of what it has spent."""

    ended: bool


class IsolatedObjective:
    """What `Objective` is to an optimizer, by messages to the process that has the problem.

    It has more than ten public methods, as many as what it stands for. Not here: the structure of the problem,
    certificates and charges of exact methods, a network that can be run, and scoring within a context.
    """

    device = "cpu"

    def __init__(self, connection: Connection, about: dict[str, Any]) -> None:
        self._connection = connection
        self.lanes, self.dim = int(about["lanes"]), int(about["dim"])
        self.dtype: torch.dtype = getattr(torch, about["dtype"])
        self.grid = tuple(about["grid"]) if about["grid"] is not None else None
        self.samples = int(about["samples"])
        self.planned_steps, self.planned_evaluations = int(about["planned_steps"]), int(about["planned_evaluations"])
        self.progress, self._ended = 0.0, False
        # Steps that were begun since the latest question: (lane, minibatch to go back to, number of a new one).
        self._steps: list[tuple[int | None, int | None, int]] = []
        self._number = 0  # of the latest minibatch
        self._shapes = {name: torch.Size(shape) for name, shape, _ in about["parameters"]}
        self._layers = {name: layer for name, _, layer in about["parameters"]}
        self._board = self._mapped(about["board"])
        self._own = OwnWork(self.lanes, lambda seconds: None)

    @property
    def spent(self) -> Known:
        """Whether the budget is spent."""
        return Known(self._ended)

    @property
    def own_flops(self) -> list[float]:
        """Of each lane, what the optimizer computed by itself."""
        return self._own.flops

    @cached_property
    def network(self) -> nn.Module:
        """The names and shapes of the parameters, and what their layers are called; it cannot be run."""
        root = nn.Module()
        for name, shape in self._shapes.items():
            *path, last = name.split(".")
            module = root
            for part in path:
                if part not in module._modules:
                    module.add_module(part, nn.Module())
                module = module.get_submodule(part)
            module.__class__ = _named(self._layers[name])
            module.register_parameter(last, nn.Parameter(torch.empty(shape, dtype=self.dtype)))
        return root

    def start(self, points: int | None = None) -> Tensor:
        """As `Objective.start`."""
        shape = (self.lanes, self.dim) if points is None else (self.lanes, points, self.dim)
        return self._drawn(shape, "start", points)

    def rand(self, *shape: int) -> Tensor:
        """As `Objective.rand`."""
        return self._drawn((self.lanes, *shape), "rand", list(shape))

    def randn(self, *shape: int) -> Tensor:
        """As `Objective.randn`."""
        return self._drawn((self.lanes, *shape), "randn", list(shape))

    def value(self, x: Tensor) -> Tensor:
        """As `Objective.value`."""
        self._check(x, (self.lanes, None, self.dim))
        with self._own:
            self._write(x)
            count = int(self._ask("value", x.shape[1]))
            return self._read((self.lanes, count))

    def value_and_grad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As `Objective.value_and_grad`."""
        self._check(x, (self.lanes, self.dim))
        with self._own:
            self._write(x)
            self._ask("value_and_grad")
            numbers = self.lanes * self.dim
            answer = self._board.answered[: numbers + self.lanes].clone()
            return answer[numbers:], answer[:numbers].view(self.lanes, self.dim)

    def parameters(self, lanes: slice = slice(None)) -> list[nn.Parameter]:
        """As `Objective.parameters`."""
        return self._parameters.stacked(lanes)

    def parameters_of(self, lane: int) -> list[nn.Parameter]:
        """As `Objective.parameters_of`."""
        return self._parameters.of_lane(lane)

    def closure(self) -> Tensor:
        """As `Objective.closure`."""
        with self._own:
            return self._parameters.losses((), None, 0)

    def next_step(self, lane: int | None = None, again: Any = None) -> Any:
        """As `Objective.next_step`."""
        if self._ended:
            return None
        with self._own:
            self._number += again is None
            self._steps.append((lane, again, self._number))  # it is told with the next question: one way fewer
            if len(self._steps) > MAX_STEPS:
                self._ask("steps")
            return self._number if again is None else again

    def recommend(self, x: Tensor) -> None:
        """As `Objective.recommend`."""
        self._check(x, (self.lanes, self.dim))
        self._write(x)
        self._ask("recommend")

    def charge_own(self, flops: float, lane: int | None = None) -> None:
        """As `Objective.charge_own`."""
        self._own.charge(flops, lane)

    def counting_own_work(self) -> AbstractContextManager[None]:
        """As `Objective.counting_own_work`."""
        return self._own.counting()

    def own_work_of(self, lane: int) -> AbstractContextManager[None]:
        """As `Objective.own_work_of`."""
        return self._own.of_lane(lane)

    def structure(self) -> NoReturn:
        """Not here. Raises Inapplicable."""
        raise Inapplicable("an isolated optimizer is not shown the structure of a problem; run it without --isolate")

    def certify(self, *_: object) -> NoReturn:
        """Not here. Raises Inapplicable."""
        self.structure()

    def charge(self, forward: int = 0, backward: int = 0) -> NoReturn:
        """Not here. Raises Inapplicable."""
        self.structure()

    def loss(self) -> NoReturn:
        """Not here. Raises Inapplicable."""
        raise Inapplicable(
            "it runs the backward pass itself, which an isolated optimizer cannot; run it without --isolate"
        )

    def closure_with_graph(self) -> NoReturn:
        """Not here. Raises Inapplicable."""
        raise Inapplicable("it asks for second derivatives, which an isolated optimizer is not given; run it without")

    def score_within(self, mode: object) -> NoReturn:
        """Not here. Raises Inapplicable."""
        raise Inapplicable("it is scored in a mode of its own, which an isolated optimizer cannot be; run it without")

    @cached_property
    def _parameters(self) -> OneLane | ManyLanes:
        (path,) = self._ask("parameters")
        model: Any = _Parameters(self, Board(path, self.lanes * self.dim, self.dtype).asked)
        return OneLane(model) if self.lanes == 1 else ManyLanes(model)

    def _drawn(self, shape: tuple[int, ...], ask: str, given: Any) -> Tensor:
        self._make_room(math.prod(shape))
        self._ask(ask, given)  # what it costs to draw them is counted where they are drawn
        return self._read(shape)

    def _write(self, x: Tensor) -> None:
        self._make_room(x.numel())
        self._board.asked[: x.numel()] = x.detach().reshape(-1)

    def _read(self, shape: tuple[int, ...]) -> Tensor:
        return self._board.answered[: math.prod(shape)].view(shape).clone()

    def _make_room(self, numbers: int) -> None:
        if numbers > self._board.numbers:
            self._board = self._mapped(self._ask("room", 2 * numbers))

    def _mapped(self, board: Sequence[Any]) -> Board:
        path, numbers = board
        return Board(str(path), int(numbers), self.dtype)

    def _ask(self, *message: Any) -> Any:
        """Ask the other process. Raises Stop, or the error that the objective raised there."""
        (ask, *given), steps = message, self._steps
        self._steps = []
        _say(self._connection, [ask, steps, *given])
        try:
            said = json.loads(self._connection.recv_bytes(MAX_MESSAGE_BYTES))
        except (EOFError, OSError):
            leave(0)
        if said[0] == "error":
            raise ERRORS.get(said[1], RuntimeError)(said[2])
        self.progress = said[1]
        if said[0] == "stop":
            self._ended = True
            raise Stop
        return said[2]

    def _check(self, x: Tensor, shape: tuple[int | None, ...]) -> None:
        fits = x.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, x.shape, strict=False))
        if not fits or x.shape.numel() == 0:
            letters = tuple("P" if size is None else size for size in shape)
            raise ValueError(f"points of shape {tuple(x.shape)}, this objective takes {letters}".replace("'", ""))


@cache
def _named(layer: str) -> type[nn.Module]:
    """A class of modules that is called as a layer is: what rules by layer go by."""
    return type(layer, (nn.Module,), {})


class _Parameters:
    """What stands for the batched model where parameters are in training: their shared matrix, and the asking."""

    def __init__(self, f: IsolatedObjective, matrix: Tensor) -> None:
        self._f, self.matrix = f, matrix.view(f.lanes, f.dim)
        self._sizes = [shape.numel() for shape in f._shapes.values()]
        self.leaves = [nn.Parameter(view) for view in self.unflatten(self.matrix[0]).values()]

    def unflatten(self, row: Tensor) -> dict[str, Tensor]:
        """(D,) -> {parameter name: view in the network's shape}."""
        parts = row.split(self._sizes)
        return {name: part.view(shape) for (name, shape), part in zip(self._f._shapes.items(), parts, strict=True)}

    def backward(self, *_: object) -> Tensor:
        """The loss of the only lane, with its gradients left in `.grad`."""
        (path, where) = self._losses()
        gradients = self.unflatten(path[0]).values()
        for place, (p, gradient) in enumerate(zip(self.leaves, gradients, strict=True)):
            p.grad = None if place in where[1] else gradient
        return where[0][0]

    def value_and_grad(self, *_: object) -> tuple[Tensor, Tensor]:
        """Losses (B,) and gradients (B, D) of the parameters in training."""
        gradients, (losses, _none) = self._losses()
        return losses, gradients

    def _losses(self) -> tuple[Tensor, tuple[Tensor, list[int]]]:
        f = self._f
        for p, view in zip(self.leaves, self.unflatten(self.matrix[0]).values(), strict=True) if f.lanes == 1 else ():
            if p.data_ptr() != view.data_ptr():
                view.copy_(p.detach().view(view.shape))
                p.data = view
        without = f._ask("closure")
        numbers = f.lanes * f.dim
        answer = f._board.answered[: numbers + f.lanes].clone()
        return answer[:numbers].view(f.lanes, f.dim), (answer[numbers:], without)


def _say(connection: Connection, message: Any) -> None:
    try:
        connection.send_bytes(json.dumps(message).encode())
    except OSError:
        leave(EXIT_ORPHAN)
