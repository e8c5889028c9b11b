"""nevergrad's optimizers by import path: they ask what they would ask alone, and are third-party like any other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

ng: Any = pytest.importorskip("nevergrad", reason="needs nevergrad: pip install 'optbench[nevergrad]'")

from optbench.core.trial import RequestError, Trial  # noqa: E402
from optbench.engine.metered import metered  # noqa: E402
from optbench.execution.lane_group import run_group, train  # noqa: E402
from optbench.optimizers import arrays  # noqa: E402
from optbench.optimizers.nevergrad_search import named  # noqa: E402
from optbench.registry.catalog import Catalog  # noqa: E402

CATALOG = Catalog()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ("OnePlusOne", "TwoPointsDE"))
def test_wrapped_it_asks_what_it_asks_by_itself(name: str) -> None:
    problem = CATALOG.problem("sphere_2d")
    f = metered(problem, [3], 60.0, needs="value")
    seen: list[Any] = []
    evaluate = f.value

    def watched(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.clone())
        return evaluate(x)

    f.value = watched  # type: ignore[method-assign]
    train(named(name)(), f, 3)

    twin = metered(problem, [3], 60.0, needs="value")
    start, spread = arrays.start(twin), arrays.spread(twin)
    space = ng.p.Array(init=start).set_mutation(sigma=spread)
    space.random_state.seed(arrays.seed(twin))
    alone = ng.optimizers.registry[name](space, budget=60, num_workers=1)
    for x in seen:
        asked = alone.ask()
        assert np.array_equal(asked.value, x[0, 0].numpy())
        alone.tell(asked, float(problem.loss(lambda value=asked.value: torch.from_numpy(value), ())))
    assert len(seen) == 60


@pytest.mark.parametrize("name", ("nevergrad:NGOpt", "nevergrad:CMA"))
def test_it_lowers_the_loss_keeps_the_budget_and_repeats(name: str) -> None:
    one, two = (run_group([Trial("sphere_2d", name, (), 1, 150.0)], CATALOG)[0] for _ in range(2))
    assert one.status in ("spent", "finished"), one.error
    assert one.evaluations == 150 and one.curve[-1]["loss"] < 1e-2 * one.curve[0]["loss"]
    assert [point["loss"] for point in one.curve] == [point["loss"] for point in two.curve]


def test_several_points_are_asked_for_together_and_it_counts_as_third_party() -> None:
    (record,) = run_group([Trial("mlp_iris", "nevergrad:DE", (("workers", 10),), 0, 40.0)], CATALOG)
    assert record.status in ("spent", "finished") and record.evaluations == 40
    assert CATALOG.third_party("mlp_iris", "nevergrad:DE") == ("nevergrad:DE",)
    assert len(CATALOG.fingerprint("mlp_iris", "nevergrad:DE")) == 12


def test_bad_names_and_settings_are_refused() -> None:
    with pytest.raises(RequestError, match="nevergrad has no 'NGOptt', did you mean 'NGOpt'"):
        CATALOG.optimizer("nevergrad:NGOptt", {})
    with pytest.raises(RequestError, match="workers=0"):
        CATALOG.optimizer("nevergrad:DE", {"workers": 0})
