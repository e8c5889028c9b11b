"""Combinations train as a loop written by hand does: the same losses to the last bit, the same counts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from optbench.core.minibatches import batches
from optbench.core.objective import Stop
from optbench.core.trial import Trial
from optbench.engine.metered import metered
from optbench.execution.lane_group import run_group
from optbench.optimizers.gradient.combination import Combination, Part
from optbench.optimizers.gradient.torch_optim import TorchOptim
from optbench.registry.catalog import Catalog
from optbench.registry.settings import adapt
from optbench.registry.specs import parse

BATCH, PASSES = 16, 30.0
CATALOG = Catalog()


class Sharp(torch.optim.Optimizer):
    """Sharpness-aware minimisation (Foret et al. 2021) around a base: it moves before it evaluates."""

    def __init__(self, params: Any, base_optimizer: Any, rho: float = 0.05) -> None:
        super().__init__(params, {"rho": rho})
        self.base = base_optimizer(self.param_groups)
        self.param_groups = self.base.param_groups

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        taken = [p for group in self.param_groups for p in group["params"]]
        norm = torch.stack([p.grad.norm() for p in taken]).norm()
        moves = [p.grad * (self.param_groups[0]["rho"] / norm) for p in taken]
        for p, move in zip(taken, moves, strict=True):
            p.add_(move)
        with torch.enable_grad():
            closure()
        for p, move in zip(taken, moves, strict=True):
            p.sub_(move)
        self.base.step()


class Averaging(torch.optim.Optimizer):
    """SGD whose eval mode is the average of its points."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})
        self.steps, self.on = 0, True

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        assert self.on, "a step in eval mode"
        self.steps += 1
        for p in self.param_groups[0]["params"]:
            p.sub_(p.grad, alpha=self.param_groups[0]["lr"])
            average = self.state[p].setdefault("average", torch.zeros_like(p))
            average.lerp_(p, 1 / self.steps)

    @torch.no_grad()
    def eval(self) -> None:
        self.on = False
        for p in self.param_groups[0]["params"]:
            if "average" in self.state[p]:
                self.state[p]["kept"] = p.clone()
                p.copy_(self.state[p]["average"])

    @torch.no_grad()
    def train(self) -> None:
        self.on = True
        for p in self.param_groups[0]["params"]:
            if "kept" in self.state[p]:
                p.copy_(self.state[p]["kept"] + 1e-3)  # inexact, as an average that is undone by rounding is


MUON: dict[str, Any] = {"lr": 0.02, "weight_decay": 0.0}
ADAMW: dict[str, Any] = {"lr": 0.01}
Step = Callable[[Callable[[], Tensor]], None]


def muon_and_adamw(net: nn.Module) -> Step:
    matrices = [p for p in net.parameters() if p.ndim == 2]
    vectors = [p for p in net.parameters() if p.ndim != 2]
    one, two = torch.optim.Muon(matrices, **MUON), torch.optim.AdamW(vectors, **ADAMW)

    def step(evaluate: Callable[[], Tensor]) -> None:
        evaluate()
        one.step()
        two.step()

    return step


def sharp_adamw(net: nn.Module) -> Step:
    optimizer = Sharp(net.parameters(), lambda groups: torch.optim.AdamW(groups, **ADAMW))

    def step(evaluate: Callable[[], Tensor]) -> None:
        evaluate()
        optimizer.step(evaluate)

    return step


@pytest.mark.parametrize(
    ("combination", "hand", "gradients"),
    [
        (Combination((Part(torch.optim.Muon, MUON), Part(torch.optim.AdamW, ADAMW))), muon_and_adamw, 1),
        (Combination((Part(Sharp, {}, Part(torch.optim.AdamW, ADAMW)),)), sharp_adamw, 2),
    ],
    ids=["Muon + AdamW", "SAM(AdamW)"],
)
def test_a_combination_equals_a_bare_loop_to_the_last_bit(combination: Combination, hand: Any, gradients: int) -> None:
    problem = CATALOG.problem("mlp_iris")
    f = metered(problem, [3], PASSES, batch=BATCH)
    with suppress(Stop):
        combination.minimise(f)
    scored = {int(point["forward"]) // BATCH: point["loss"] for point in f.finish().curves[0]}

    torch.manual_seed(3)
    net, data = problem.network(), problem.data().train
    step, stream, calls = hand(net), batches(len(data[0]), BATCH, 3), 0
    steps = max(scored) // gradients
    assert steps > 25 and f.spent.forward == f.spent.backward == max(scored) * BATCH
    compared = 0
    for _ in range(steps):
        if calls in scored:
            compared += 1
            with torch.no_grad():
                assert scored[calls] == problem.loss(net, data).item(), calls
        index = next(stream)

        def evaluate(index: Tensor = index) -> Tensor:
            nonlocal calls
            calls += 1
            net.zero_grad()
            loss = problem.loss(net, tuple(tensor[index] for tensor in data))
            loss.backward()
            return loss

        step(evaluate)
    assert compared > 5 and calls == steps * gradients


def losses(optimizer: Any, seeds: list[int]) -> list[list[float]]:
    f = metered(CATALOG.problem("mlp_iris"), seeds, PASSES, batch=BATCH)
    with suppress(Stop):
        optimizer.minimise(f)
    return [[point["loss"] for point in curve] for curve in f.finish().curves]


@pytest.mark.parametrize(
    "combination",
    [
        Combination((Part(torch.optim.Muon, MUON), Part(torch.optim.AdamW, ADAMW))),
        Combination((Part(Sharp, {}, Part(torch.optim.AdamW, ADAMW)),)),
        Combination((Part(Averaging),)),
    ],
    ids=["Muon + AdamW", "SAM(AdamW)", "eval mode"],
)
def test_lanes_of_a_combination_equal_serial(combination: Combination) -> None:
    together = losses(combination, [0, 1, 2])
    for lane in range(3):
        (alone,) = losses(combination, [lane])
        assert together[lane] == pytest.approx(alone, rel=1e-3) and alone[-1] < alone[0]


def test_scores_are_taken_in_eval_mode_and_leave_training_as_it_was() -> None:
    problem = CATALOG.problem("mlp_iris")
    f = metered(problem, [3], PASSES, batch=BATCH)
    with suppress(Stop):
        TorchOptim(Averaging).minimise(f)
    outcome = f.finish()

    torch.manual_seed(3)
    net, data = problem.network(), problem.data().train
    stream, average, steps = batches(len(data[0]), BATCH, 3), None, f.spent.evaluations
    for step in range(1, steps + 1):
        index = next(stream)
        net.zero_grad()
        problem.loss(net, tuple(tensor[index] for tensor in data)).backward()
        with torch.no_grad():
            for p in net.parameters():
                p.sub_(p.grad, alpha=0.1)
            point = nn.utils.parameters_to_vector(net.parameters())
            average = torch.zeros_like(point) if average is None else average
            average.lerp_(point, 1 / step)
    assert average is not None and torch.equal(outcome.points[0], average)


def test_biases_are_not_decayed_where_decay_is_for_matrices() -> None:
    ((name, hyper),) = parse("adamw[weight_decay=0.5,decay_on=matrices]")
    built = CATALOG.optimizer(name, hyper)
    f = metered(CATALOG.problem("mlp_iris"), [0], PASSES, batch=BATCH)
    optimizer, _ = built.optimizer.build(f, f.parameters())  # type: ignore[attr-defined]
    decays = {p.ndim: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decays == {2: 0.5, 1: 0.0}


def test_kernels_as_matrices_equal_a_bare_loop_that_flattens_them() -> None:
    problem, size = CATALOG.problem("cnn_digits[dropout=0.0]"), 128
    shaped = {"1.kernels": "matrices", "1.lr": 0.02, "2.lr": 0.01, "1.clip_norm": 0.5}
    built = CATALOG.optimizer("torch.optim:Muon{ndim=2+,place=!last} + adamw", shaped)
    f = metered(problem, [3], 4.0, batch=size)
    with suppress(Stop):
        built.optimizer.minimise(f)
    scored = {int(point["forward"]) // size: point["loss"] for point in f.finish().curves[0]}

    torch.manual_seed(3)
    net, data = problem.network(), problem.data().train
    kernels = [p for p in net.parameters() if p.ndim == 4]
    flat = [nn.Parameter(p.detach().flatten(1).clone()) for p in kernels]
    rest = [p for p in net.parameters() if p.ndim != 4]
    one, two = torch.optim.Muon(flat, lr=0.02), torch.optim.AdamW(rest, lr=0.01)
    stream, compared = batches(len(data[0]), size, 3), 0
    for step in range(max(scored)):
        if step in scored:
            compared += 1
            with torch.no_grad():
                assert scored[step] == problem.loss(net, data).item(), step
        index = next(stream)
        net.zero_grad()
        problem.loss(net, tuple(tensor[index] for tensor in data)).backward()
        nn.utils.clip_grad_norm_([*kernels, *rest], 0.5)
        for seen, p in zip(flat, kernels, strict=True):
            seen.grad = p.grad.flatten(1)  # type: ignore[union-attr]
        one.step()
        two.step()
        with torch.no_grad():
            for seen, p in zip(flat, kernels, strict=True):
                p.copy_(seen.view_as(p))
    assert compared > 5 and len(kernels) == 2


def test_muon_trains_the_kernels_of_a_convolution_in_lanes_as_alone() -> None:
    trials = [Trial("cnn_digits", "muon", (), seed, 4.0) for seed in range(3)]
    together = run_group(trials, CATALOG)
    for trial, record in zip(trials, together, strict=True):
        (alone,) = run_group([trial], CATALOG)
        assert record.status == alone.status == "spent"
        # Muon computes in bf16, so a last digit of float32 may become one of bf16
        assert record.curve[-1]["loss"] == pytest.approx(alone.curve[-1]["loss"], rel=0.02)
        assert alone.curve[-1]["loss"] < 0.95 * alone.curve[0]["loss"]


class Flagged(torch.optim.SGD):
    """It takes param groups that say which parameters are matrices, and nothing else."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        groups = list(params)
        if not all(isinstance(group, dict) and "use_muon" in group for group in groups):
            raise RuntimeError("groups must say use_muon")
        super().__init__(groups, lr)


def test_a_class_that_wants_its_groups_flagged_gets_them() -> None:
    f = metered(CATALOG.problem("mlp_iris"), [0], PASSES, batch=BATCH)
    adapter = adapt(Flagged, {"lr": 0.2}, "Flagged")
    assert isinstance(adapter, Combination)
    optimizer, schedules = adapter.build(f, f.parameters())
    flags = {p.ndim: group["use_muon"] for group in optimizer.param_groups for p in group["params"]}
    assert flags == {2: True, 1: False} and len(schedules) == 2
    assert losses(adapter, [0]) == losses(TorchOptim(torch.optim.SGD, {"lr": 0.2}), [0])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("torch.optim:Muon", "only supports 2D"),
        ("sgd{ndim=2}", "no part takes"),
        ("sgd + adam", "left with no parameter"),
        ("sgd{layer=Conv2d} + adam", "left with no parameter"),
    ],
)
def test_what_cannot_be_built_for_a_problem_costs_itself_alone(text: str, reason: str) -> None:
    ((name, hyper),) = parse(text)
    for seeds in (1, 2):
        trials = [Trial("mlp_iris", name, tuple(sorted(hyper.items())), seed, 5.0) for seed in range(seeds)]
        for record in run_group(trials, CATALOG):
            assert record.status == "inapplicable" and reason in str(record.error)
