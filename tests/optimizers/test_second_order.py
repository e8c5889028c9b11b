"""Optimizers that differentiate gradients or run the backward pass themselves: as a bare loop, every pass counted."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from optbench.core.minibatches import batches
from optbench.core.objective import Stop
from optbench.core.trial import Trial
from optbench.core.watching import seen
from optbench.engine.flops import costs, product
from optbench.engine.metered import metered
from optbench.execution.lane_group import run_group
from optbench.optimizers.gradient.combination import Combination
from optbench.optimizers.gradient.probes import needs_graph, steady
from optbench.optimizers.gradient.torch_optim import TorchOptim
from optbench.registry.catalog import Catalog
from optbench.registry.settings import adapt

PROBLEM, BATCH, PASSES, SEED = "mlp_iris", 16, 30.0, 3
CATALOG = Catalog()


class Hutchinson(torch.optim.Optimizer):
    """AdaHessian without its averages (Yao et al. 2021): steps over the Hessian's diagonal, `products` a step."""

    def __init__(self, params: Any, lr: float = 0.02, products: int = 1) -> None:
        super().__init__(params, {"lr": lr})
        self.products = products

    @torch.no_grad()
    def step(self, closure: Any) -> None:  # type: ignore[override]
        with torch.enable_grad():
            closure()
        taken = [p for group in self.param_groups for p in group["params"]]
        diagonal = [torch.zeros_like(p) for p in taken]
        for _ in range(self.products):
            draws = [torch.randint_like(p, 2) * 2.0 - 1.0 for p in taken]
            found = torch.autograd.grad([p.grad for p in taken], taken, draws, retain_graph=True)
            for k, (one, draw) in enumerate(zip(found, draws, strict=True)):
                diagonal[k] += one * draw / self.products
        for p, curvature in zip(taken, diagonal, strict=True):
            p.addcdiv_(p.grad, curvature.abs() + 0.1, value=-self.param_groups[0]["lr"])


class Fused(torch.optim.Optimizer):
    """SGD within the backward pass, as LOMO does it (Lv et al. 2024)."""

    def __init__(self, model: nn.Module, lr: float = 0.05, clip_grad_norm: float | None = None) -> None:
        self.clip_grad_norm, self.rate, self.measuring = clip_grad_norm, lr, False
        self.norms: list[Tensor] = []
        super().__init__(model.parameters(), {"lr": lr})
        for p in model.parameters():
            p.register_post_accumulate_grad_hook(self.update)

    @torch.no_grad()
    def update(self, p: Any) -> None:
        if self.measuring:
            self.norms.append(p.grad.norm())
        else:
            p.sub_(p.grad, alpha=self.rate)
        p.grad = None

    def grad_norm(self, loss: Tensor) -> None:
        self.measuring, self.norms = True, []
        loss.backward(retain_graph=True)
        self.measuring = False

    def fused_backward(self, loss: Tensor, lr: float) -> None:
        self.rate = lr
        if self.clip_grad_norm:
            self.rate *= float((self.clip_grad_norm / torch.stack(self.norms).norm()).clamp(max=1.0))
        loss.backward()


def recorded(optimizer: Any) -> tuple[dict[int, float], Any]:
    """The training losses by samples sent forward, and what was spent."""
    f = metered(CATALOG.problem(PROBLEM), [SEED], PASSES, batch=BATCH)
    torch.manual_seed(SEED)
    with suppress(Stop), f.counting_own_work():
        optimizer.minimise(f)
    return {int(point["forward"]): point["loss"] for point in f.finish().curves[0]}, f.spent


def by_hand(step: Callable[[nn.Module, Callable[[], Tensor]], None], samples: int) -> dict[int, float]:
    """A bare loop's losses on the whole training set, by the samples sent forward before."""
    problem = CATALOG.problem(PROBLEM)
    torch.manual_seed(SEED)
    net, data = problem.network(), problem.data().train
    torch.manual_seed(SEED)
    stream, found = batches(len(data[0]), BATCH, SEED), {}
    for done in range(0, samples + 1, BATCH):
        with torch.no_grad():
            found[done] = problem.loss(net, data).item()
        index = next(stream)

        def loss(index: Tensor = index) -> Tensor:
            return problem.loss(net, tuple(tensor[index] for tensor in data))

        step(net, loss)
    return found


@pytest.mark.filterwarnings("ignore:Using backward")  # with create_graph, torch says so once a process
@pytest.mark.parametrize("products", [1, 3])
def test_products_with_the_hessian_equal_a_bare_loop_and_are_counted_and_charged(products: int) -> None:
    adapter = adapt(Hutchinson, {"products": products}, "Hutchinson")
    assert isinstance(adapter, TorchOptim) and adapter.traits.graph and not adapter.lanes
    losses, spent = recorded(adapter)
    optimizer: list[Hutchinson] = []

    def step(net: nn.Module, loss: Callable[[], Tensor]) -> None:
        optimizer[:] = optimizer or [Hutchinson(net.parameters(), products=products)]

        def closure() -> Tensor:
            net.zero_grad()
            value = loss()
            value.backward(create_graph=True)
            return value

        optimizer[0].step(closure)
        net.zero_grad()

    plain = by_hand(step, max(losses))
    whole = spent.products // products  # a last step may find its gradient paid for, but not its product
    assert len(losses) > 8 and all(plain[done] == loss for done, loss in losses.items() if done <= whole)
    steps, price = spent.forward // BATCH, product(CATALOG.problem(PROBLEM), BATCH, "cpu")
    gradient = costs(CATALOG.problem(PROBLEM), BATCH, "cpu").gradient
    assert spent.evaluations == steps and abs(spent.backward - steps * (1 + products) * BATCH) <= products * BATCH
    done = spent.products // BATCH
    assert spent.flops == steps * gradient + done * price and spent.product_flops == done * price


def test_a_product_costs_what_torch_runs_for_it() -> None:
    problem = CATALOG.problem("mlp_digits")
    net, data = problem.network(), tuple(tensor[:128] for tensor in problem.data().train)
    first = torch.autograd.grad(problem.loss(net, data), list(net.parameters()), create_graph=True)
    with FlopCounterMode(display=False) as counter:
        torch.autograd.grad(first, list(net.parameters()), [torch.ones_like(g) for g in first])
    # by hand, widths 64-32-10, n samples: of the forward pass A = X W1, B = H W2, and of the backward pass
    # dW2 = H' d, dH = d W2', dW1 = X' e; each product differentiated gives two, but none towards the data X
    n, ab, bc = 128, 64 * 32, 32 * 10
    by_rule = 2 * n * (ab + 2 * bc + 2 * bc + ab + 2 * bc)
    assert product(problem, 128, "cpu") == counter.get_total_flops() == by_rule


def test_products_are_no_own_work_again() -> None:
    losses, spent = recorded(adapt(Hutchinson, {}, "Hutchinson"))
    steps = spent.forward // BATCH
    net = CATALOG.problem(PROBLEM).network()
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    taken = list(net.parameters())

    def alone() -> None:  # the same step without its product
        found = [torch.ones_like(p) for p in taken]
        draws = [torch.randint_like(p, 2) * 2.0 - 1.0 for p in taken]
        diagonal = [torch.zeros_like(p) for p in taken]
        for k, (one, draw) in enumerate(zip(found, draws, strict=True)):
            diagonal[k] += one * draw / 1
        for p, curvature in zip(taken, diagonal, strict=True):
            with torch.no_grad():
                p.addcdiv_(p.grad, curvature.abs() + 0.1, value=-0.01)

    assert losses and spent.own_flops[0] / steps == pytest.approx(seen(alone), rel=0.1)


@pytest.mark.parametrize(("clip", "backwards"), [(None, 1), (0.5, 2)])
def test_a_fused_backward_pass_equals_a_bare_loop_and_each_pass_is_counted(clip: float | None, backwards: int) -> None:
    adapter = adapt(Fused, {} if clip is None else {"clip_grad_norm": clip}, "Fused")
    assert isinstance(adapter, Combination) and not adapter.lanes
    losses, spent = recorded(adapter)
    optimizer: list[Fused] = []

    def step(net: nn.Module, loss: Callable[[], Tensor]) -> None:
        optimizer[:] = optimizer or [Fused(net, clip_grad_norm=clip)]
        value = loss()
        if clip:
            optimizer[0].grad_norm(value)
        optimizer[0].fused_backward(value, 0.05)

    plain = by_hand(step, max(losses))
    assert len(losses) > 8 and all(plain[done] == loss for done, loss in losses.items())
    assert abs(spent.backward - backwards * spent.forward) <= BATCH and spent.evaluations == spent.forward // BATCH
    parameters = CATALOG.problem(PROBLEM).network().parameters()
    own = 2 * sum(p.numel() for p in parameters) * spent.evaluations  # p - lr g; and where it clips, a norm
    assert own <= spent.own_flops[0] <= (3.2 if clip else 1.3) * own


def test_fused_backward_passes_stop_on_budget_and_share_the_network_with_none() -> None:
    path = f"{__file__}:Fused"
    record = run_group([Trial(PROBLEM, path, (("clip_grad_norm", 1.0),), 0, 5.0)], CATALOG)[0]
    assert record.status == "spent" and record.passes <= 5.0
    both = run_group([Trial(PROBLEM, f"{path} + adamw", (), 0, 5.0)], CATALOG)[0]
    assert both.status == "inapplicable" and "no other part has a share" in str(both.error)


class Eigenvectors(torch.optim.Optimizer):
    """Steps along the eigenvectors of a singular matrix: rounding decides where to."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for p in self.param_groups[0]["params"]:
            if p.ndim == 2:
                _, vectors = torch.linalg.eigh(p.grad @ p.grad.t())
                p.sub_(vectors @ torch.sign(vectors.t() @ p.grad), alpha=self.param_groups[0]["lr"])


class Drawing(torch.optim.SGD):
    """Adds noise from the global generator."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = super().step(closure)
        for p in self.param_groups[0]["params"]:
            p.add_(torch.randn_like(p), alpha=1e-3)
        return loss


@pytest.mark.parametrize(
    ("cls", "graph", "calm"),
    [
        (torch.optim.Adam, False, True),
        (torch.optim.Adafactor, False, True),
        (torch.optim.LBFGS, False, True),
        (Hutchinson, True, True),
        (Eigenvectors, False, False),
        (Drawing, False, False),
    ],
)
def test_what_a_class_needs_is_found_out_by_trying_it(cls: Any, graph: bool, calm: bool) -> None:
    before = torch.get_rng_state()
    assert needs_graph(cls) == graph
    if not graph:
        assert steady(cls) == calm
    assert torch.equal(torch.get_rng_state(), before)
    assert adapt(cls, {}, cls.__name__).lanes == (calm and not graph)
