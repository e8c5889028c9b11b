"""K-FAC against a loop around the library's own class, its work against a count by hand, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from optbench.core.minibatches import batches
from optbench.core.trial import Trial
from optbench.execution.lane_group import run_group
from optbench.registry.catalog import Catalog
from optbench.registry.specs import parse

singd = pytest.importorskip("singd.optim.optimizer", reason="singd, of the extra `modern`, is not installed")

CATALOG = Catalog()
SETTINGS = {"lr": 0.01, "damping": 0.1, "renewal": 0.05}
AS_SINGD = {"lr": 0.01, "damping": 0.1, "lr_cov": 0.05, "alpha1": 0.0, "kfac_like": True}


def test_it_equals_a_loop_around_the_librarys_class_to_the_last_bit() -> None:
    trial = Trial("mlp_digits", "kfac", tuple(sorted({**SETTINGS, "every": 3}.items())), 5, 8.0)
    (record,) = run_group([trial], CATALOG)
    assert record.status == "spent"
    problem = CATALOG.problem("mlp_digits")
    size = problem.batch or 0
    torch.manual_seed(5)
    net, data = problem.network(), problem.data().train
    optimizer, stream = singd.SINGD(net, T=3, **AS_SINGD), batches(len(data[0]), size, 5)
    scored = {int(point["forward"]) // size: point["loss"] for point in record.curve}
    for step in range(max(scored) + 1):
        if step in scored:
            with torch.no_grad():
                assert scored[step] == problem.loss(net, data).item(), step
        index = next(stream)
        net.zero_grad()
        problem.loss(net, tuple(tensor[index] for tensor in data)).backward()
        optimizer.step()
    assert len(scored) > 6 and record.forward == record.backward == max(scored) * size


def test_factors_are_its_own_work_though_the_backward_pass_provides_them() -> None:
    """By import path the library computes them within the backward pass, where nobody sees them."""
    plain = {**AS_SINGD, "T": 1}
    spent = []
    for name, settings in (("kfac", SETTINGS), ("singd.optim.optimizer:SINGD", plain)):
        (record,) = run_group([Trial("mlp_digits", name, tuple(sorted(settings.items())), 0, 8.0)], CATALOG)
        spent.append((record.own_flops, record.backward))
    (counted, samples), (unseen, _) = spent
    # a layer's inputs (n, k) and output gradients (n, c): K'a, and its product with itself, at 2 n k k each; so for c
    by_hand = samples * sum(4 * (k * k + c * c) for k, c in ((65, 32), (33, 10)))
    assert counted is not None and unseen is not None
    assert counted - unseen == pytest.approx(by_hand, rel=0.05)


def test_it_trains_convolutions() -> None:
    (record,) = run_group([Trial("cnn_digits", "kfac", (("lr", 0.1),), 0, 12.0)], CATALOG)
    assert record.status == "spent" and record.curve[-1]["loss"] < 0.97 * record.curve[0]["loss"]


def test_layers_that_it_cannot_train_are_refused_and_shown_to_others() -> None:
    (record,) = run_group([Trial("rnn_shakespeare", "kfac", (), 0, 0.1)], CATALOG)
    assert record.status == "inapplicable"
    assert "it trains Linear and Conv2d" in str(record.error) and "write kfac{layer=Linear} + adamw" in str(
        record.error
    )
    ((name, hyper),) = parse("kfac{layer=Linear} + adamw[lr=0.003]")
    (mixed,) = run_group([Trial("rnn_shakespeare", name, tuple(sorted(hyper.items())), 0, 0.1)], CATALOG)
    assert mixed.status == "spent"
    ((name, hyper),) = parse("kfac{ndim=2} + adamw[lr=0.003]")
    (part,) = run_group([Trial("mlp_digits", name, (), 0, 0.5)], CATALOG)
    assert part.status == "inapplicable" and "it trains whole layers" in str(part.error)
