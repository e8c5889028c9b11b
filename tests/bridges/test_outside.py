"""IOHprofiler's functions as problems: the package's own values and optima."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

ioh: Any = pytest.importorskip("ioh", reason="needs ioh: pip install 'optbench[ioh]'")

from optbench.core.trial import RequestError, Trial  # noqa: E402
from optbench.engine.metered import metered  # noqa: E402
from optbench.execution.lane_group import run_group  # noqa: E402
from optbench.registry.catalog import Catalog  # noqa: E402

CATALOG = Catalog()


@pytest.mark.parametrize(
    ("name", "kind", "number", "instance"),
    [
        ("ioh-sbox[f=1,d=10,i=2]", "SBOX", 1, 2),
        ("ioh-sbox[f=15,d=10,i=3]", "SBOX", 15, 3),
        ("ioh-cec2022[f=1,d=10]", "CEC2022", 1001, 1),
        ("ioh-cec2022[f=12,d=10]", "CEC2022", 1012, 1),
    ],
)
def test_values_and_optimum_are_the_packages_own(name: str, kind: str, number: int, instance: int) -> None:
    theirs = ioh.get_problem(number, instance, 10, ioh.ProblemClass[kind])
    problem = CATALOG.problem(name)
    x = np.random.default_rng(1).uniform(-5, 5, (100, 10))
    found = metered(problem, [0], 200.0).value(torch.from_numpy(x)[None])[0]
    assert found.tolist() == [theirs(point) for point in x]
    assert problem.best.value == theirs.optimum.y == pytest.approx(theirs(np.array(theirs.optimum.x)), abs=1e-6)
    assert problem.best.source == "optimum"


def test_outside_of_the_strict_box_there_is_no_value_and_a_swarm_still_improves() -> None:
    problem = CATALOG.problem("ioh-sbox[f=1,d=2]")
    assert problem.values(np.full((1, 2), 6.0)).tolist() == [np.inf]
    (record,) = run_group([Trial("ioh-sbox[f=1,d=2]", "pso", (), 0, 600.0)], CATALOG)
    assert record.status == "spent" and record.curve[-1]["loss"] - problem.best.value < 1e-2


def test_hybrid_functions_in_two_dimensions_are_refused() -> None:
    with pytest.raises(RequestError, match="write d=10 or d=20"):
        CATALOG.problem("ioh-cec2022[f=7,d=2]")
