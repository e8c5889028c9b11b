"""COCO's functions as problems: values to the last bit, optima, targets, and gradients that are paid for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

cocoex: Any = pytest.importorskip("cocoex", reason="needs coco-experiment: pip install 'optbench[coco]'")

from optbench.core.objective import Stop  # noqa: E402
from optbench.core.trial import RequestError, Trial  # noqa: E402
from optbench.engine.metered import metered  # noqa: E402
from optbench.execution.lane_group import run_group  # noqa: E402
from optbench.problems import bbob  # noqa: E402
from optbench.registry.catalog import Catalog  # noqa: E402

CATALOG = Catalog()


def coco(suite: str, f: int, d: int, i: int) -> Any:
    """The function from COCO's own suite, as its example experiments get it."""
    found = cocoex.Suite(suite, f"instances: {i}", f"dimensions: {d} function_indices: {f - 100 if f > 100 else f}")
    return found.get_problem(found.ids()[0])


@pytest.mark.parametrize("f", range(1, 25))
def test_a_thousand_values_equal_cocos_own_to_the_last_bit(f: int) -> None:
    d, i = (2, 3, 5, 10, 20, 40)[f % 6], 1 + f % 15
    x = np.random.default_rng(f).uniform(-6, 6, (1000, d))  # some outside of the box, where there is a penalty
    theirs = coco("bbob", f, d, i)
    found = metered(CATALOG.problem(f"bbob[f={f},d={d},i={i}]"), [0], 2000.0).value(torch.from_numpy(x)[None])[0]
    assert found.tolist() == [theirs(point) for point in x]


@pytest.mark.parametrize(("f", "d"), [(1, 20), (7, 40), (13, 80), (24, 160)])
def test_values_of_largescale_equal_cocos_own_to_the_last_bit(f: int, d: int) -> None:
    x = np.random.default_rng(f).uniform(-5, 5, (50, d))
    theirs = coco("bbob-largescale", f, d, 3)
    found = metered(CATALOG.problem(f"bbob-largescale[f={f},d={d},i=3]"), [0], 100.0).value(torch.from_numpy(x)[None])
    assert found[0].tolist() == [theirs(point) for point in x]


@pytest.mark.parametrize("f", (101, 105, 109, 113, 121, 129))
def test_noise_is_cocos_own_stream_and_begins_anew_with_every_trial(f: int) -> None:
    x = np.random.default_rng(f).uniform(-5, 5, (100, 5))
    theirs = coco("bbob-noisy", f, 5, 2)
    problem = CATALOG.problem(f"bbob-noisy[f={f},d=5,i=2]")
    for _ in range(2):
        objective = metered(problem, [0], 1e6)
        found = torch.cat([objective.value(torch.from_numpy(part)[None])[0] for part in np.split(x, [1, 40])])
        bbob.begin_noise()
        theirs(x[0])  # as the score at the start
        assert found.tolist() == [theirs(point) for point in x]
    assert len({theirs(x[0]) for _ in range(100)}) > 1


@pytest.mark.parametrize("suite", ("bbob", "bbob-noisy", "bbob-largescale"))
def test_the_stated_optimum_is_the_value_at_cocos_own_best_point(suite: str, tmp_path: Any, monkeypatch: Any) -> None:
    """COCO writes its best point, rounded, into a file of the working folder."""
    monkeypatch.chdir(tmp_path)
    for f in range(1, 25) if suite != "bbob-noisy" else range(101, 131):
        d = 20 if suite == "bbob-largescale" else 3
        theirs = coco(suite, f, d, 4)
        theirs._best_parameter("print")
        found = theirs(np.loadtxt(tmp_path / "._bbob_problem_best_parameter.txt"))
        above = found - CATALOG.problem(f"{suite}[f={f},d={d},i=4]").best.value
        # Cauchy noise stands on 1000 alpha wherever the point is no hit, and COCO's best point is rounded.
        levels = (0.0, 10.0, 1000.0) if f > 100 and f % 3 == 1 else (0.0,)
        assert min(abs(above - level) for level in levels) < 2e-5, f


def test_targets_are_cocos_precisions_above_the_optimum() -> None:
    problem = CATALOG.problem("bbob[f=2,d=3,i=1]")
    assert list(problem.targets) == [100.0, 10.0, 1.0, 0.1, 0.01, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8]
    assert [value - problem.best.value for value in problem.targets.values()] == pytest.approx(list(problem.targets))


def test_a_pass_is_one_evaluation_and_the_budget_is_kept() -> None:
    f = metered(CATALOG.problem("bbob[f=1,d=2]"), [0], 25.0, needs="value")
    with pytest.raises(Stop):
        while True:
            f.value(f.start(10))
    assert f.spent.evaluations == 25 and f.spent.passes == 25


@pytest.mark.parametrize(("gradient", "cost", "error"), [("forward", 6, 1e-5), ("central", 11, 1e-8)])
def test_differences_are_the_gradient_of_the_sphere_and_are_paid_for(gradient: str, cost: int, error: float) -> None:
    problem = CATALOG.problem(f"bbob[f=1,d=5,i=1,gradient={gradient}]")
    f = metered(problem, [0], 100.0, needs="grad")
    best = torch.tensor(cocoex.BareProblem("bbob", 1, 5, 1).best_parameter())
    x = f.start()
    value, slope = f.value_and_grad(x)
    assert torch.allclose(slope[0], 2 * (x[0] - best), atol=10 * error)
    assert value.item() == cocoex.BareProblem("bbob", 1, 5, 1)(x[0].numpy())
    assert f.spent.passes == cost
    parameters = f.parameters()
    f.closure()
    assert parameters[0].grad is not None and f.spent.passes == 2 * cost


def test_the_door_to_gradients_is_closed_and_the_reason_says_what_to_write() -> None:
    (closed,) = run_group([Trial("bbob[d=2]", "adam", (), 0, 50.0)], CATALOG)
    assert closed.status == "inapplicable" and "gradient=forward" in str(closed.error)
    (paid,) = run_group([Trial("bbob[d=2,gradient=forward]", "lbfgs", (), 0, 200.0)], CATALOG)
    assert paid.status in ("spent", "finished") and paid.curve[-1]["loss"] - 79.48 < 1e-8


@pytest.mark.parametrize("name", ("bbob[f=8,d=3]", "bbob-noisy[f=107,d=3]"))
def test_the_same_trial_leaves_the_same_record(name: str) -> None:
    trial = Trial(name, "pso", (), 3, 900.0)
    one, two = (run_group([trial], CATALOG)[0] for _ in range(2))
    assert [point["loss"] for point in one.curve] == [point["loss"] for point in two.curve]
    assert one.evaluations == two.evaluations == 900 and math.isfinite(one.curve[-1]["loss"])


BAD = {
    "bbob[f=25]": "bbob has no function f=25; it has 1 to 24, the nearest is f=24",
    "bbob[d=1]": "bbob has no dimension d=1; it has 2 to 40, the nearest is d=2",
    "bbob[i=0]": "bbob has no instance i=0; it has 1 to 10000, the nearest is i=1",
    "bbob-largescale[d=100]": "it has 20, 40, 80, 160, 320, 640, the nearest is d=80",
    "bbob-noisy[f=1]": "bbob-noisy has no function f=1; it has 101 to 130, the nearest is f=101",
    "bbob-noisy[gradient=central]": "differences of noise are none; leave it out",
    "bbob[gradient=exact]": "bbob: gradient 'exact' is not one of none, forward, central",
}


@pytest.mark.parametrize("name", BAD)
def test_what_there_is_not_is_refused_with_the_nearest(name: str) -> None:
    with pytest.raises(RequestError) as refused:
        CATALOG.problem(name)
    assert BAD[name] in str(refused.value) and "\n" not in str(refused.value)
