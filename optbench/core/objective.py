"""The only oracle that an optimizer has. It counts, clocks, records and stops; an optimizer does none of that.

Letters: B lanes, P candidates, D parameters. Losses become Python numbers only at log-spaced checkpoints, with the
clock standing still.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from optbench.core.certificate import CertificateError, certificate, check_finite
from optbench.core.draws import LaneDraws
from optbench.core.goal import Goal
from optbench.core.meter import Meter, Spent, Stop
from optbench.core.minibatches import Minibatches
from optbench.core.model import Model
from optbench.core.outcome import Answer, Outcome
from optbench.core.own_work import OwnWork
from optbench.core.parameters import ManyLanes, OneLane
from optbench.core.problem import Batch, Problem, Splits
from optbench.core.scoring import Point, Scoring
from optbench.core.second_order import charged, differentiable
from optbench.core.structure import Inapplicable, Structure, structure_of, weight_grid

__all__ = [
    "CertificateError",
    "Inapplicable",
    "Objective",
    "OracleError",
    "Stop",
    "Structure",
]  # what an optimizer imports


class OracleError(ValueError):
    """An optimizer asks an oracle that it does not declare."""


class Objective:
    """B trials of one problem, metered. Work past the budget raises Stop, and so does every later call.

    `engine.metered.metered` builds one. It has more than ten public methods, for it is all that optimizers of four
    kinds see: value (zeroth order), value_and_grad (first order), parameters, parameters_of, closure, its form with a
    graph, loss and next_step (torch.optim), structure, charge and certify (exact methods); start, rand, randn,
    recommend and charge_own serve all of them. The runner begins with start_clock and counting_own_work, and ends with
    finish.
    """

    def __init__(
        self,
        problem: Problem,
        seeds: Sequence[int],
        *,
        model: Model,
        data: Splits,
        meter: Meter,
        batches: Minibatches,
        device: str = "cpu",
        on_point: Callable[[int, Point], None] | None = None,
        needs: str = "exact",
        goal: Goal | None = None,
        warms: bool = False,
    ) -> None:
        """seeds: one a lane. on_point: called with (lane, curve point) as each point is scored. needs: the oracle that
        the optimizer declares; "value" gives no gradients, "exact" gives everything. warms: a warm-up, hardly scored.
        """
        self._needs = needs
        self.lanes, self.dim = len(seeds), model.dim
        self.device, self.dtype = device, problem.dtype
        self.grid = weight_grid(problem)  # the values that the problem's weights may take, where it states them
        self._problem, self._seeds = problem, tuple(seeds)
        self._model, self._data, self._meter, self._batches = model, data, meter, batches
        self._draws = LaneDraws(problem, self._seeds, device)
        self._parameters = OneLane(model) if self.lanes == 1 else ManyLanes(model)
        self._answer = Answer(model.matrix, batches.full)
        self._own = OwnWork(self.lanes, meter.take_off)
        if meter.time is None:
            self._scoring = Scoring(model, data, meter.limit, meter.costs.one_pass, on_point, goal, warms)
        else:  # as many scores as a long budget has, spread over the time
            self._scoring = Scoring(model, data, int(1e6 * meter.time), int(1e6 * meter.time) // 100, on_point, goal)
        self._nonfinite = torch.zeros(self.lanes, dtype=torch.int64, device=device)
        self._certificates: list[dict[str, Any] | None] = [None] * self.lanes
        self._outcome: Outcome | None = None
        self._modes: list[Callable[[], AbstractContextManager[None]]] = []
        self._score()
        self.start_clock()

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("an objective cannot be copied or sent elsewhere: the work of the copy would not be counted")

    # What an optimizer reads

    @property
    def progress(self) -> float:
        """Share of the budget that is spent, 0 to 1: for schedules."""
        return self._meter.progress

    @property
    def network(self) -> nn.Module:
        """The plain network: its layers and parameter names. Its parameters are those in training for one lane only."""
        return self._model.module

    @property
    def planned_steps(self) -> int:
        """Gradients of one minibatch that the whole budget covers: for schedules inside an optimizer."""
        return max(1, int(self._meter.limit // self._meter.costs.gradient))

    @property
    def planned_evaluations(self) -> int:
        """Points whose loss on one minibatch the whole budget covers: for methods that choose by it how to go on."""
        return int(self._meter.limit // self._meter.costs.forward)

    @property
    def samples(self) -> int:
        """Samples of the training set."""
        return self._meter.costs.samples

    def start(self, points: int | None = None) -> Tensor:
        """(B, D), or (B, points, D): independent draws of the network's own initialisation. Costs nothing."""
        return self._draws.start(points)

    def rand(self, *shape: int) -> Tensor:
        """(B, *shape) uniform numbers in [0, 1), each lane from a generator of its own."""
        return self._draws.numbers(torch.rand, shape)

    def randn(self, *shape: int) -> Tensor:
        """(B, *shape) standard normal numbers, each lane from a generator of its own."""
        return self._draws.numbers(torch.randn, shape)

    def score_within(self, mode: Callable[[], AbstractContextManager[None]]) -> None:
        """Enter this context around every scoring: for optimizers whose answer is not the point in training.

        The context may move the parameters in training, and moves them back when it ends.
        """
        self._modes.append(mode)

    # Oracles

    def value(self, x: Tensor) -> Tensor:
        """Losses (B, P) at points (B, P, D), every candidate of a lane on the same minibatch.

        A loss that is not finite comes back as infinity and is counted. When the budget covers only some of the
        candidates, those are evaluated, and then Stop is raised. Raises ValueError for points of another shape.
        """
        self._check(x, (self.lanes, None, self.dim))
        with self._own:
            self._enter()
            costs, wanted = self._meter.costs, x.shape[1]
            count = min(wanted, self._meter.affordable(costs.forward))
            if count < 1:
                self._meter.stop()
            batch, index = self._batches.current()
            try:
                with self._parameters.spared():
                    losses = self._model.values(x[:, :count].detach(), batch, index, self._meter.calls)
            finally:  # work that ends in an exception is work too
                self._meter.spend(count * costs.batch, 0, count * costs.forward, count)
            losses = self._finite(losses)
            self._remember(x, losses)
            if count < wanted:
                self._meter.stop()
            return losses

    def value_and_grad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Losses (B,) and gradients (B, D) at points (B, D).

        Raises ValueError for points of another shape, OracleError where the optimizer declares no gradients.
        """
        self._allow("value_and_grad", "grad", "exact")
        self._check(x, (self.lanes, self.dim))
        with self._own:
            self._enter()
            costs = self._meter.costs
            self._meter.afford(costs.gradient)
            batch, index = self._batches.current()
            try:
                with self._parameters.spared():
                    losses, gradients = self._model.value_and_grad(x.detach(), batch, index, self._meter.calls)
            finally:
                self._spend_gradient()
            finite = losses.isfinite()
            self._nonfinite += ~finite
            self._remember(x[:, None], torch.where(finite, losses, math.inf)[:, None])
            return losses, gradients

    def parameters(self, lanes: slice = slice(None)) -> list[nn.Parameter]:
        """What a torch optimizer trains. One lane: the network's own parameters, in its own shapes. More lanes: one
        (lanes, D) matrix, so that an optimizer that works element by element trains every lane at once; different
        settings are param groups over different lanes. Raises OracleError where the optimizer declares no gradients.
        """
        self._allow("parameters", "grad", "exact")
        return self._parameters.stacked(lanes)

    def parameters_of(self, lane: int) -> list[nn.Parameter]:
        """One lane's parameters in the network's own shapes, for optimizers that work on whole layers.

        Raises OracleError where the optimizer declares no gradients.
        """
        self._allow("parameters_of", "grad", "exact")
        return self._parameters.of_lane(lane)

    def closure(self) -> Tensor:
        """Loss of the parameters in training, (B,) or a scalar for one lane, with their gradients left in `.grad`.

        What torch's `optimizer.step(closure)` asks for. Calls between two `next_step` see one minibatch. Raises
        OracleError where the optimizer declares no gradients.
        """
        return self._gradient(graph=False)

    def closure_with_graph(self) -> Tensor:
        """The same for a single lane, with gradients that can be differentiated, for Hessian-vector products.

        Each product is charged as one more backward pass, at its own FLOPs. Raises OracleError where the optimizer
        declares no gradients, Inapplicable where the loss has no second derivative.
        """
        return self._gradient(graph=True)

    def _gradient(self, graph: bool) -> Tensor:
        self._allow("closure", "grad", "exact")
        with self._own:
            self._enter()
            self._meter.afford(self._meter.costs.gradient)
            batch, index = self._batches.current()
            try:
                if graph:
                    return self._with_graph(batch)
                return self._parameters.losses(batch, index, self._meter.calls)
            finally:
                self._spend_gradient()

    def loss(self) -> Tensor:
        """Loss of the parameters of a single lane with its graph, for optimizers that run the backward pass themselves.

        Every backward pass through it is charged. Raises OracleError where the optimizer declares no gradients.
        """
        self._allow("loss", "grad", "exact")
        costs = self._meter.costs
        with self._own:
            self._enter()
            self._meter.afford(costs.gradient)
            batch, _ = self._batches.current()
            seen = self._model.backward_seen(costs.batch)
            self._meter.spend(costs.batch, 0, costs.forward, 1)
            loss = self._model.loss(batch, self._meter.calls - 1)

        def backward() -> None:
            self._meter.enter()
            self._meter.afford(costs.backward)
            self._meter.spend(0, costs.batch, costs.backward, 0)
            self._own.exclude(seen)

        return charged(backward, loss)

    def next_step(self, lane: int | None = None, again: Any = None) -> Any:
        """Draw a minibatch and keep it until the next call: for steps that evaluate several times, as LBFGS does.

        lane: only this lane goes on, for lanes whose steps take different numbers of evaluations. Returns what names
        the minibatch. again: such a name, to go back to its minibatch.
        """
        if self._meter.ended:
            return None
        with self._own:
            return self._batches.next_step(lane, again)

    # What exact methods and averaging methods say

    def charge(self, forward: int = 0, backward: int = 0) -> None:
        """Pay for work that an exact method does on its own, in samples, before it does it.

        Raises Stop where the budget does not cover it, ValueError for a negative number.
        """
        with self._own:
            self._enter()
            if forward < 0 or backward < 0:
                text = f"a charge of {forward} samples forward and {backward} backward: nothing is given back"
                raise ValueError(text)
            cost = self._meter.costs.of(forward, backward)
            self._meter.afford(cost)
            self._meter.spend(forward, backward, cost, 0)
            self._own.leave_out(cost * self.lanes)  # what is seen of it is the problem's work, not the optimizer's own

    def charge_own(self, flops: float, lane: int | None = None) -> None:
        """State work of the optimizer's own that is not done in torch, in FLOPs of all lanes together, or of one lane.

        What is done in torch is counted as it runs. Own work is recorded beside the problem's and does not end a trial.
        Raises ValueError for a negative number.
        """
        self._own.charge(flops, lane)

    def counting_own_work(self) -> AbstractContextManager[None]:
        """A context for the whole of an optimizer's work: what it computes between its calls is counted."""
        return self._own.counting()

    def own_work_of(self, lane: int) -> AbstractContextManager[None]:
        """A context for what one lane computes by itself, where lanes work one after another."""
        return self._own.of_lane(lane)

    def structure(self) -> Structure:
        """The problem's pieces, for methods that declare `needs = "exact"`.

        Raises Inapplicable where it has none, OracleError where the optimizer declares another oracle.
        """
        self._allow("structure", "exact")
        return structure_of(self._problem, self._model.module, self._data.train, self._batches.full)

    def recommend(self, x: Tensor) -> None:
        """Score these points (B, D) from now on: for methods whose answer is not the best point they evaluated."""
        self._check(x, (self.lanes, self.dim))
        self._answer.recommend(x)

    def certify(self, x: Tensor, lower: float, upper: float, scope: str) -> None:
        """Claim, for the only lane, that x (1, D) has loss `upper` and that nothing in `scope` is below `lower`.

        The loss is recomputed by a forward pass of the network, which is charged. Raises CertificateError where it
        differs by more than 1e-6 (float32) or 1e-12 (float64), relative to max(1, |upper|), and Stop once the budget is
        spent: one check may go beyond it.
        """
        self._check(x, (1, self.dim))
        check_finite(upper)
        self._meter.enter()
        self.recommend(x)
        with self._own, self._meter.paused(), torch.no_grad():
            loss = self._model.score(x, self._data._replace(valid=None, test=None))[0]["loss"]
        costs = self._meter.costs
        self._meter.spend(costs.samples, 0, costs.one_pass, 1)
        if self._meter.units >= self._meter.limit:
            self._meter.end()
        self._certificates[0] = certificate(loss, lower, upper, scope, self.dtype)

    # How the runner begins and ends it

    @property
    def spent(self) -> Spent:
        """Counts, passes, seconds and own work so far, a snapshot."""
        own = self._own
        own_flops, state_bytes = tuple(map(round, own.flops)), tuple(own.state_bytes)
        return self._meter.spent._replace(own_flops=own_flops, own_seconds=own.seconds, state_bytes=state_bytes)

    def start_clock(self) -> None:
        """Let the clock run from now on: what came before is no training."""
        self._meter.start_clock()

    def finish(self) -> Outcome:
        """End the run, score the final points and say what came of it. Calling it again says the same.

        Scores can be read here and nowhere else: before the end they would be evaluations that nobody paid for.
        """
        if self._outcome is None:
            self._meter.end()
            for leaf in self._model.leaves:
                leaf.grad = None  # one with a graph would keep itself, its parameter and all between them alive
            self._scoring.forget(self.spent.passes)
            points = self._score(final=True)
            self._outcome = Outcome(
                spent=self.spent,
                curves=self._scoring.curves,
                diverged=self._scoring.diverged,
                reached=self._scoring.reached,
                nonfinite=[int(count) for count in self._nonfinite],
                certificates=self._certificates,
                points=points.clone(),
                lowest=self._scoring.lowest,
                state={name: value.clone() for name, value in self._model.state.items()},
                charged_own=self._own.charged,
                uncaptured=self._model.uncaptured,
            )
        return replace(self._outcome, spent=self.spent)  # refused calls are counted after the end

    def _allow(self, call: str, *oracles: str) -> None:
        if self._needs not in oracles:
            raise OracleError(f"declares needs = {self._needs!r} but calls {call}; state needs = {oracles[0]!r}")

    def _enter(self) -> None:
        self._meter.enter()
        if self._scoring.due(self._meter.mark):
            with self._meter.paused():
                self._score()
            if self._scoring.over:
                self._meter.stop()

    def _with_graph(self, batch: Batch) -> Tensor:
        """The loss of the only lane, with gradients in `.grad` whose own backward passes are charged."""
        costs = self._meter.costs
        try:
            flops = self._model.product_flops(costs.batch)
        except RuntimeError as error:
            raise Inapplicable(f"the loss has no second derivative: {error}") from None

        @contextmanager
        def product() -> Iterator[None]:
            self._meter.enter()
            self._meter.afford(flops)
            with self._own.excluded():
                try:
                    yield
                finally:
                    self._meter.spend_product(costs.batch, flops)

        loss, gradients = self._model.graph(batch, self._meter.calls)
        differentiable(product, gradients, self._model.leaves)
        return loss.detach()

    def _finite(self, losses: Tensor) -> Tensor:
        """Losses (B, P) with infinity for those that are not finite, which are counted."""
        if losses.device.type == "cpu" and math.isfinite(float(losses.sum())):  # so all are; a GPU would have to wait
            return losses
        finite = losses.isfinite()
        self._nonfinite += (~finite).sum(1)
        return torch.where(finite, losses, math.inf)

    def _spend_gradient(self) -> None:
        costs = self._meter.costs
        self._meter.spend(costs.batch, costs.batch, costs.gradient, 1)
        if self._model.overhead != self._meter.warmup:
            self._meter.exclude(self._model.overhead - self._meter.warmup)

    def _remember(self, x: Tensor, losses: Tensor) -> None:
        """Points (B, P, D) have these losses (B, P)."""
        if not self._parameters.in_training:
            self._answer.update(x, losses)

    def _score(self, final: bool = False) -> Tensor:
        """Score the (B, D) points that are the answer now, and return them."""
        if not self._modes:
            return self._score_here(final)
        with ExitStack() as modes:
            for mode in self._modes:
                modes.enter_context(mode())
            return self._score_here(final).clone()

    def _score_here(self, final: bool) -> Tensor:
        points, spent = self._returned(), self.spent
        training = self._parameters.in_training
        # A population may still find a finite point; parameters in training that are not finite stay so.
        self._scoring.add(points, spent, (training or final) and spent.forward > 0, self._meter.mark)
        return points

    def _returned(self) -> Tensor:
        """The (B, D) points that are the answer now."""
        training = self._parameters.in_training
        if training:
            self._parameters.collect()
        return self._model.matrix if training and not self._answer.recommended else self._answer.points

    def _check(self, x: Tensor, shape: tuple[int | None, ...]) -> None:
        fits = x.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, x.shape, strict=False))
        if not fits or x.shape.numel() == 0:
            letters = tuple("P" if size is None else size for size in shape)
            raise ValueError(f"points of shape {tuple(x.shape)}, this objective takes {letters}".replace("'", ""))
