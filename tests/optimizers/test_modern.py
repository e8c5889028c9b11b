"""Four built-in methods of the last years against loops as users write them: losses to the last bit, and counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from optbench.core.minibatches import batches
from optbench.core.trial import Trial
from optbench.engine.flops import costs, product
from optbench.execution.lane_group import run_group
from optbench.registry.catalog import Catalog

modern = pytest.importorskip("pytorch_optimizer", reason="the extra `modern` is not installed")

PROBLEM, SEED, PASSES = "mlp_digits", 5, 12.0
CATALOG = Catalog()
Step = Callable[[Callable[[], Tensor]], None]


class Loop:
    """A network and its optimizer, made once; `step` gets what computes a minibatch's loss."""

    forward = backward = 1  # passes of a minibatch in one step, by hand
    products = 0  # of the backward ones, Hessian-vector products

    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def step(self, loss: Callable[[], Tensor]) -> None:
        raise NotImplementedError

    def at_answer(self, value: Callable[[], float]) -> float:
        return value()


class MuonLoop(Loop):
    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        layers = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
        hidden = [layer.weight for layer in layers[:-1]]
        rest = [p for p in net.parameters() if all(p is not weight for weight in hidden)]
        self.optimizers = [torch.optim.Muon(hidden, lr=0.02), torch.optim.AdamW(rest, lr=0.01)]

    def step(self, loss: Callable[[], Tensor]) -> None:
        self.net.zero_grad()
        loss().backward()
        for optimizer in self.optimizers:
            optimizer.step()


class SamLoop(Loop):
    forward = backward = 2

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.optimizer = modern.SAM(net.parameters(), base_optimizer=torch.optim.AdamW, rho=0.05, lr=0.01)

    def step(self, loss: Callable[[], Tensor]) -> None:
        def closure() -> Tensor:
            self.net.zero_grad()
            value = loss()
            value.backward()
            return value

        closure()
        self.optimizer.step(closure)


class AdaHessianLoop(Loop):
    backward, products = 2, 1

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.optimizer = modern.AdaHessian(net.parameters(), lr=0.1)

    def step(self, loss: Callable[[], Tensor]) -> None:
        self.net.zero_grad()
        loss().backward(create_graph=True)
        self.optimizer.step()
        self.net.zero_grad()


class ScheduleFreeLoop(Loop):
    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.optimizer = modern.ScheduleFreeAdamW(net.parameters(), lr=0.01)
        self.optimizer.train()

    def step(self, loss: Callable[[], Tensor]) -> None:
        self.net.zero_grad()
        loss().backward()
        self.optimizer.step()

    def at_answer(self, value: Callable[[], float]) -> float:
        kept = [p.detach().clone() for p in self.net.parameters()]
        self.optimizer.eval()
        found = value()
        self.optimizer.train()
        with torch.no_grad():
            for p, point in zip(self.net.parameters(), kept, strict=True):
                p.copy_(point)
        return found


@pytest.mark.filterwarnings("ignore:Using backward")  # with create_graph
@pytest.mark.parametrize(
    ("name", "loop"),
    [
        ("muon", MuonLoop),
        ("sam", SamLoop),
        ("adahessian", AdaHessianLoop),
        ("schedule_free_adamw", ScheduleFreeLoop),
    ],
)
def test_recorded_losses_equal_a_bare_loop_to_the_last_bit_and_counts_those_by_hand(name: str, loop: Any) -> None:
    (record,) = run_group([Trial(PROBLEM, name, (), SEED, PASSES)], CATALOG)
    problem = CATALOG.problem(PROBLEM)
    torch.manual_seed(SEED)
    net, data = problem.network(), problem.data().train
    torch.manual_seed(SEED)  # from which AdaHessian draws its vectors
    own, size = loop(net), problem.batch or 0
    stream, price = batches(len(data[0]), size, SEED), costs(problem, size, "cpu")
    cost = loop.forward * price.forward + (loop.backward - loop.products) * price.backward
    cost += loop.products * product(problem, size, "cpu") if loop.products else 0
    steps = price.limit(PASSES) // cost
    assert record.status == "spent" and steps >= 20
    scored = {point["forward"]: point["loss"] for point in record.curve}

    def value() -> float:
        with torch.no_grad():
            return problem.loss(net, data).item()

    compared = 0
    for done in range(steps + 1):
        if (sent := done * loop.forward * size) in scored:
            compared += 1
            assert scored[sent] == own.at_answer(value), done
        index = next(stream)
        own.step(lambda index=index: problem.loss(net, tuple(tensor[index] for tensor in data)))  # type: ignore[misc]
    assert compared >= 6
    # the budget may still pay for a part of one more step
    assert 0 <= record.forward - steps * loop.forward * size <= size
    assert 0 <= record.backward - steps * loop.backward * size <= size
    assert record.flops <= price.limit(PASSES) < (steps + 1) * cost
