"""The problem's side of `run --isolate`: it trains with an optimizer that is in another process.

Problem, data, meter, clock and scoring are here; the optimizer's code never is. The two processes share points, losses
and gradients in memory, and small JSON messages in a pipe; nothing that comes from the other side is unpickled.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from optbench.core.objective import Inapplicable, Objective, Stop
from optbench.execution.board import Board
from optbench.execution.task import LaneGroup, Stated
from optbench.optimizers.gradient.rules import Described, described
from optbench.records.schema import clean
from optbench.registry.catalog import Built, Catalog, Kind

READY, END = "ready", "end"  # what the optimizer's process says by itself, before it trains and after
EXIT_GUEST = 88  # exit code: the optimizer's process has ended
MAX_MESSAGE_BYTES = 65_536  # of a message from the optimizer
MAX_REASON = 600  # characters
MAX_BATCHES = 1024  # minibatches that an optimizer may go back to, the latest
CANDIDATES = 64  # of each lane that there is room for at once; more make it larger


class SharingError(BaseException):
    """The machine has no room for what two processes share. Not an Exception, for it is no fault of the optimizer."""


class GuestError(Exception):
    """The optimizer has failed in its process; the text is the reason for the record."""


class HostCatalog(Catalog):
    """The catalog of a process that never imports the optimizer of its only group: what is known of it was told."""

    def __init__(self, files: tuple[str, ...], group: LaneGroup, guest: Connection, folder: Path, most: int) -> None:
        """files: plugin files of the problem. folder: for the memory that is shared. most: its bytes."""
        super().__init__(files)
        self._group, self._link = group, (guest, folder, most, list[str]())

    def optimizer(self, name: str, hyper: Mapping[str, Any]) -> Built:
        stated = self._group.stated or Stated("value", False, None)
        guest = Guest(stated.needs, name, [dict(hyper)], self._group.trials[0].seed, *self._link)
        how = stated.needs, stated.lanes, stated.batch, stated.precision
        return Built(guest, *how)  # type: ignore[arg-type]  # needs is an object's own

    def sources(self, problem: str, optimizer: str) -> tuple[str, tuple[str, ...], tuple[str, ...], Kind | None]:
        group = self._group
        return group.stated.fingerprint if group.stated else "", group.third_party, group.files, group.scorer


class Guest:
    """Stands for the optimizer of the other process: its calls of the objective are made here."""

    def __init__(
        self,
        needs: str,
        name: str,
        hypers: list[dict[str, Any]],
        seed: int,
        link: Connection,
        folder: Path,
        most: int,
        broken: list[str],
    ) -> None:
        """hypers: the settings of each lane, or of all of them. seed: of the optimizer's global generators. folder:
        for what is shared, of at most `most` bytes. broken: what went wrong on the link, for good.
        """
        self.needs, self._name, self._hypers, self._seed = needs, name, hypers, seed
        self._link, self._folder, self._most, self._broken = link, folder, most, broken
        self._board: Board
        self._matrix: Tensor | None = None  # (B, D) of the parameters in training, shared
        self._training: list[nn.Parameter] = []  # the same ones of the objective
        self._prepared: Objective | None = None  # what the optimizer's process is ready to train
        self._end: list[Any] | None = None  # how it said that it ended
        self._batches: dict[int, Any] = {}  # the latest minibatches by their number

    def together(self, others: Sequence[Guest]) -> Guest:
        """Lanes with settings of their own."""
        hypers = [hyper for other in others for hyper in other._hypers]
        link = self._link, self._folder, self._most, self._broken
        return Guest(self.needs, self._name, hypers, self._seed, *link)

    def prepare(self, f: Objective) -> None:
        """Let the other process import its optimizer and wait for this objective: no trial pays for that."""
        self._prepared, self._end, self._matrix, self._training = f, None, None, []
        self._batches.clear()
        if self._broken:
            return
        try:
            self._board = self._room(f, max(1, f.lanes * (f.dim + 1) * (CANDIDATES if f.dim < 2**14 else 1)))
            self._say(self._about(f))
            heard = self._hear()
            if heard[0] == END:
                self._end = heard
            elif heard[0] != READY:
                raise GuestError("its process said what no optimizer says")
        except GuestError as error:
            self._broken.append(str(error))

    def minimise(self, f: Objective) -> None:
        """Serve the other process until it says how its optimizer ended. Raises GuestError, Inapplicable and Stop."""
        if self._prepared is not f:
            self.prepare(f)
        if self._broken:
            raise GuestError(self._broken[0])
        try:
            self._serve(f)
        except GuestError as error:
            if self._end is None:
                self._broken.append(str(error))
            raise
        finally:
            for path in self._folder.glob(f"{os.getpid()}.*"):
                with contextlib.suppress(OSError):
                    path.unlink()

    def _serve(self, f: Objective) -> None:
        while True:
            ask, *given = heard = self._end or self._hear()
            if ask == END:
                self._end = heard
                return self._ended(f, *given[:3])
            try:
                self._sync()
                for step in given.pop(0):
                    self._next_step(f, *step)
                call = _CALLS.get(ask if isinstance(ask, str) else "")
                if call is None:
                    raise GuestError(f"its process asked for {str(ask)[:40]!r}, which there is not")
                found = call(self, f, *given)
                answer: list[Any] = ["ok", f.progress, found]
            except Stop:
                answer = ["stop", f.progress]
            except GuestError:
                raise
            except Exception as error:
                answer = ["error", type(error).__name__, clean(str(error))[:MAX_REASON]]
            self._say(answer)

    def _about(self, f: Objective) -> dict[str, Any]:
        """What the optimizer may know."""
        return {
            "name": self._name,
            "hypers": self._hypers,
            "lanes": f.lanes,
            "dim": f.dim,
            "dtype": str(f.dtype).removeprefix("torch."),
            "grid": f.grid,
            "samples": f.samples,
            "planned_steps": f.planned_steps,
            "planned_evaluations": f.planned_evaluations,
            "parameters": [[one.name, list(p.shape), one.layer] for one, p in zip(*_known(f.network), strict=True)],
            "seed": self._seed,
            "board": [self._board.path, self._board.numbers],
        }

    def _ended(self, f: Objective, status: Any = "", reason: Any = None, own: Any = None) -> None:
        self._sync()
        if isinstance(own, list) and len(own) == f.lanes and all(map(_is_count, own)):
            for lane, flops in enumerate(own):
                f.charge_own(flops, lane)
        text = clean(str(reason))[:MAX_REASON]
        if status == "spent":
            raise Stop
        if status == "inapplicable":
            raise Inapplicable(text)
        if status != "finished":
            raise GuestError(text)

    # What the optimizer asks for

    def _value(self, f: Objective, candidates: int) -> int:
        losses = f.value(self._asked((f.lanes, candidates, f.dim)))
        return self._answer(losses) // f.lanes

    def _value_and_grad(self, f: Objective) -> None:
        losses, gradients = f.value_and_grad(self._asked((f.lanes, f.dim)))
        self._answer(gradients, losses)

    def _parameters(self, f: Objective) -> list[Any]:
        self._training = f.parameters()
        if self._matrix is None:
            self._matrix = self._shared(f, "matrix", f.lanes * f.dim).asked.view(f.lanes, f.dim)
            self._matrix.copy_(torch.cat([p.detach().reshape(f.lanes, -1) for p in self._training], 1))
        return [str(self._folder / f"{os.getpid()}.matrix")]

    def _closure(self, f: Objective) -> list[int]:
        """The losses and gradients; which of the parameters have no gradient."""
        losses = f.closure()
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self._training]
        self._answer(torch.cat([gradient.reshape(f.lanes, -1) for gradient in gradients], 1), losses)
        return [place for place, p in enumerate(self._training) if p.grad is None]

    def _next_step(self, f: Objective, lane: int | None, again: int | None, number: int) -> None:
        """Begin a step. number: what its minibatch is called from now on, unless it is that of before, `again`."""
        if again is None:
            self._batches[number] = f.next_step(lane)
        elif again in self._batches:
            f.next_step(lane, self._batches[again])
        else:
            raise ValueError(f"no minibatch of the latest {MAX_BATCHES} is called {again!r}")
        if len(self._batches) > MAX_BATCHES:
            del self._batches[next(iter(self._batches))]

    def _steps(self, f: Objective) -> None:
        """Steps alone, which have been begun."""

    def _start(self, f: Objective, points: int | None) -> None:
        self._answer(f.start(points))

    def _rand(self, f: Objective, shape: list[int]) -> None:
        self._answer(f.rand(*shape))

    def _randn(self, f: Objective, shape: list[int]) -> None:
        self._answer(f.randn(*shape))

    def _recommend(self, f: Objective) -> None:
        f.recommend(self._asked((f.lanes, f.dim)))

    def _make_room(self, f: Objective, numbers: int) -> list[Any]:
        self._board = self._room(f, numbers)
        return [self._board.path, self._board.numbers]

    # The way there and back

    def _room(self, f: Objective, numbers: int) -> Board:
        if 2 * numbers * f.dtype.itemsize > self._most:
            raise GuestError(f"asked for {numbers} numbers at a time, more than its memory")
        return self._shared(f, f"board{numbers}", numbers)

    def _shared(self, f: Objective, name: str, numbers: int) -> Board:
        try:
            return Board.create(self._folder / f"{os.getpid()}.{name}", numbers, f.dtype)
        except (OSError, RuntimeError) as error:
            raise SharingError(f"no room for what is shared: {getattr(error, 'strerror', None) or error}") from None

    def _sync(self) -> None:
        """Let the parameters in training be where the optimizer has moved them."""
        if self._matrix is None:
            return
        done = 0
        with torch.no_grad():
            for p in self._training:
                size = p.numel() // len(self._matrix)
                p.copy_(self._matrix[:, done : done + size].reshape(p.shape))
                done += size

    def _asked(self, shape: tuple[int, ...]) -> Tensor:
        """What the optimizer has written, as it is now and stays."""
        numbers = math.prod(shape)
        if not 0 < numbers <= self._board.numbers:
            raise ValueError(f"points of shape {shape} do not fit what is shared")
        return self._board.asked[:numbers].view(shape).clone()

    def _answer(self, *tensors: Tensor) -> int:
        """Write tensors one after another; how many numbers they are."""
        whole = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        if whole.numel() > self._board.numbers:
            raise ValueError(f"{whole.numel()} numbers do not fit what is shared")
        self._board.answered[: whole.numel()] = whole
        return whole.numel()

    def _say(self, message: Any) -> None:
        try:
            self._link.send_bytes(json.dumps(message).encode())
        except OSError:
            os._exit(EXIT_GUEST)

    def _hear(self) -> list[Any]:
        try:
            heard = json.loads(self._link.recv_bytes(MAX_MESSAGE_BYTES))
        except (EOFError, OSError):
            os._exit(EXIT_GUEST)
        except (ValueError, RecursionError):
            heard = None
        if not isinstance(heard, list) or not heard:
            raise GuestError("its process said what no optimizer says")
        return heard


def _is_count(flops: Any) -> bool:
    return isinstance(flops, int | float) and math.isfinite(flops) and flops >= 0


def _known(network: nn.Module) -> tuple[list[Described], list[nn.Parameter]]:
    """What rules know of a network's parameters, and these."""
    return described(network), list(network.parameters())


_CALLS: dict[str, Callable[..., Any]] = {
    "value": Guest._value,
    "value_and_grad": Guest._value_and_grad,
    "parameters": Guest._parameters,
    "closure": Guest._closure,
    "steps": Guest._steps,
    "start": Guest._start,
    "rand": Guest._rand,
    "randn": Guest._randn,
    "recommend": Guest._recommend,
    "room": Guest._make_room,
}
