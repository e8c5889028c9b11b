"""Torch optimizers whose `step` leaves the closure to the training loop, as much research code does."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from optbench.core.minibatches import batches
from optbench.core.objective import Stop
from optbench.core.trial import Trial
from optbench.engine.metered import metered
from optbench.execution.lane_group import run_group
from optbench.optimizers.gradient.steps import Steps
from optbench.optimizers.gradient.torch_optim import TorchOptim
from optbench.registry.catalog import Catalog

BATCH, PASSES = 16, 30.0


class ReadsGrad(torch.optim.Optimizer):
    """Heavy ball; its step ignores the closure and counts the steps, as many do."""

    def __init__(self, params: Any, lr: float = 0.05, beta: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "beta": beta})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            group["steps"] = group.get("steps", 0) + 1
            for p in group["params"]:
                speed = self.state[p].setdefault("speed", torch.zeros_like(p))
                speed.mul_(group["beta"]).add_(p.grad)
                p.sub_(speed, alpha=group["lr"] / group["steps"] ** 0.1)


class TakesNothing(ReadsGrad):
    """Its step does not even take a closure."""

    def step(self) -> None:  # type: ignore[override]
        super().step()


class ByLayer(ReadsGrad):
    """Mixes the elements of a tensor, so that every lane has an optimizer of its own."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(p.grad / p.grad.norm().clamp(min=1e-3), alpha=group["lr"])


CLASSES = (ReadsGrad, TakesNothing, ByLayer)


@pytest.mark.parametrize("cls", CLASSES)
def test_a_step_that_ignores_its_closure_equals_a_bare_loop_to_the_last_bit(cls: type[torch.optim.Optimizer]) -> None:
    problem = Catalog().problem("mlp_iris")
    f = metered(problem, [3], PASSES, batch=BATCH)
    with suppress(Stop):
        TorchOptim(cls).minimise(f)
    curve = f.finish().curves[0]
    scored = {int(point["forward"]) // BATCH: point["loss"] for point in curve}

    torch.manual_seed(3)
    net = problem.network()
    data = problem.data().train
    opt = cls(net.parameters())  # type: ignore[arg-type]
    stream = batches(len(data[0]), BATCH, 3)
    assert max(scored) > 50 and len(scored) > 10 and f.spent.evaluations == max(scored)
    for step in range(max(scored) + 1):
        if step in scored:
            with torch.no_grad():
                assert scored[step] == problem.loss(net, data).item(), step
        index = next(stream)
        opt.zero_grad()
        problem.loss(net, tuple(tensor[index] for tensor in data)).backward()
        opt.step()


@pytest.mark.parametrize("cls", CLASSES)
def test_lanes_of_such_a_class_equal_serial(cls: type[torch.optim.Optimizer]) -> None:
    optimizer = TorchOptim(cls)
    assert (optimizer.for_rows is None) == (cls is ByLayer)

    def curves(seeds: list[int]) -> list[list[float]]:
        f = metered(Catalog().problem("mlp_iris"), seeds, PASSES, batch=BATCH)
        with suppress(Stop):
            optimizer.minimise(f)
        return [[point["loss"] for point in curve] for curve in f.finish().curves]

    together = curves([0, 1, 2])
    for lane, seed in enumerate((0, 1, 2)):
        (alone,) = curves([seed])
        assert together[lane] == pytest.approx(alone, rel=1e-4) and alone[-1] < alone[0]


def test_such_a_class_runs_from_a_file(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "import torch\n\n\nclass Mine(torch.optim.Optimizer):\n"
        "    def __init__(self, params, lr=0.05):\n        super().__init__(params, {'lr': lr})\n\n"
        "    @torch.no_grad()\n    def step(self, closure=None):\n"
        "        for group in self.param_groups:\n            for p in group['params']:\n"
        "                p.sub_(p.grad, alpha=group['lr'])\n"
    )
    catalog = Catalog([str(plugin)])
    name = next(name for name in catalog.optimizers if name.lower().endswith("mine"))
    mine = run_group([Trial("mlp_iris", name, (), 0, 20.0)], catalog)[0]
    sgd = run_group([Trial("mlp_iris", "torch.optim:SGD", (("lr", 0.05),), 0, 20.0)], catalog)[0]
    assert (mine.status, mine.forward, mine.evaluations) == ("spent", sgd.forward, sgd.evaluations)
    assert [point["loss"] for point in mine.curve] == [point["loss"] for point in sgd.curve]


def test_a_class_that_evaluates_its_closure_is_asked_no_more_than_it_asks() -> None:
    p = nn.Parameter(torch.ones(3))
    points: list[Tensor] = []

    def closure() -> Tensor:
        points.append(p.detach().clone())
        p.grad = 2 * p.detach()
        return p.detach().square().sum()

    steps = Steps(torch.optim.LBFGS([p], max_iter=3), closure)
    steps.take()
    steps.take()
    here = len(points)

    p.data.fill_(1.0)
    plain, points[:] = torch.optim.LBFGS([p], max_iter=3), []
    plain.step(closure)
    plain.step(closure)
    assert here == len(points)


def test_a_class_that_moves_before_it_evaluates_gets_the_loss_where_it_is() -> None:
    class Ahead(torch.optim.Optimizer):
        def __init__(self, params: Any) -> None:
            super().__init__(params, {})

        def step(self, closure: Any) -> None:  # type: ignore[override]
            p = self.param_groups[0]["params"][0]
            p.data.add_(1.0)
            seen.append(float(closure()))

    p = nn.Parameter(torch.zeros(1))
    seen: list[float] = []

    def closure() -> Tensor:
        p.grad = torch.ones(1)
        return p.detach().sum()

    steps = Steps(Ahead([p]), closure)
    steps.take()
    steps.take()
    assert seen == [1.0, 2.0]


class Refusing(torch.optim.SGD):
    """It has the argument of a closure and refuses to take one, as mixed-precision code does."""

    def step(self, closure: object = None) -> None:  # type: ignore[override]
        if closure is not None:
            raise NotImplementedError("no closure")
        super().step()


def test_a_class_that_refuses_a_closure_is_stepped_without() -> None:
    p, q = (nn.Parameter(torch.tensor([2.0, -1.0])) for _ in range(2))
    for parameter, cls in ((p, Refusing), (q, torch.optim.SGD)):

        def closure(parameter: nn.Parameter = parameter) -> float:
            parameter.grad = 2 * parameter.detach()
            return float(parameter.detach().square().sum())

        steps = Steps(cls([parameter], lr=0.1), closure)
        for _ in range(3):
            steps.take()
    assert torch.equal(p, q)
