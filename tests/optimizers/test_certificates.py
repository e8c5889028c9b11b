"""Nothing goes below a certificate over continuous weights, and the report says no more than a certificate proves."""

from __future__ import annotations

import importlib.util
import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.dp_cases import solved
from helpers.synthetic import Runner, make, problem_facts
from torch import Tensor, nn

from optbench.core.objective import Inapplicable, Objective, Stop
from optbench.core.problem import Problem
from optbench.engine.metered import metered_as
from optbench.optimizers import OPTIMIZERS
from optbench.optimizers.exact.dp_step import DPStep
from optbench.problems.step_1d import Step1d
from optbench.problems.step_bmi import StepBmi, StepBmiClasses
from optbench.records.reader import read
from optbench.registry.catalog import Catalog
from optbench.report.analysis import certificates
from optbench.report.analysis.load import load_study
from optbench.report.sentences.certificates import regrets, sentences

CERTIFIED = {type(case): solved(case, DPStep()) for case in (Step1d(7), StepBmi(4), StepBmiClasses(4))}
REFUSE = ("dp_grid", "ddp", "sgd_by_hand")  # the first wants a grid, the others a network that can be differentiated
GRID: dict[str, dict[str, Any]] = {"mmas": {"grid": (-1.0, 0.0, 1.0)}}


class Warm:
    """A problem whose networks start at the certified optimum, give or take a little: below it is one step away."""

    def network(self) -> nn.Module:
        net: nn.Module = super().network()  # type: ignore[misc]
        row = CERTIFIED[type(self).__mro__[2]].point
        with torch.no_grad():
            for p, part in zip(net.parameters(), row.split([p.numel() for p in net.parameters()]), strict=True):
                p.copy_(part.view(p.shape) + 1e-3 * torch.randn(p.shape))
        return net


@dataclass(frozen=True)
class WarmStep(Warm, Step1d):
    K: int = 7


@dataclass(frozen=True)
class WarmBmi(Warm, StepBmi):
    pass


@dataclass(frozen=True)
class WarmClasses(Warm, StepBmiClasses):
    pass


class Lowest(Objective):
    """An objective that keeps the lowest loss it ever gave out."""

    lowest = math.inf

    def value(self, x: Tensor) -> Tensor:
        losses = super().value(x)
        self.lowest = min(self.lowest, float(losses.min()))
        return losses

    def value_and_grad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        losses, gradients = super().value_and_grad(x)
        self.lowest = min(self.lowest, float(losses.min()))
        return losses, gradients

    def closure(self) -> Tensor:
        loss = super().closure()
        self.lowest = min(self.lowest, float(loss.min()))
        return loss


@pytest.mark.parametrize("problem", [WarmStep(), WarmBmi(), WarmClasses()], ids=lambda problem: type(problem).__name__)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_optimizer_goes_below_a_continuous_certificate(name: str, problem: Problem) -> None:
    extra = OPTIMIZERS[name].extra
    if extra and importlib.util.find_spec(extra) is None:
        pytest.skip(f"needs {extra}")
    certified = CERTIFIED[type(problem).__mro__[2]]
    f = metered_as(Lowest, problem, [0], 80.0)
    optimizer = Catalog().optimizer(name, GRID.get(name, {})).optimizer
    refused = False
    try:
        with suppress(Stop):
            optimizer.minimise(f)
    except Inapplicable:
        refused = True
    assert refused == (name in REFUSE)
    f.finish()
    assert min(f.lowest, f.finish().curves[0][-1]["loss"]) >= certified.lower - 1e-12 * max(1.0, certified.lower)


def test_a_warm_start_is_close_enough_to_tell() -> None:
    """A certificate a hundredth too high would be passed at once."""
    f = metered_as(Lowest, WarmStep(), [0], 80.0)
    f.value(f.start(20))
    assert f.lowest < 1.01 * CERTIFIED[Step1d].lower


# What the report makes of a certificate

WHOLE = {"lower": 0.5, "upper": 0.5, "scope": "continuous weights", "exact": True}


def about(folder: Path, certificate: dict[str, Any], losses: list[float], dtype: str, status: str = "spent") -> str:
    """The sentence on a problem where `other` went through these losses, and its regret."""
    facts = {"p": problem_facts(source="bound") | {"dtype": dtype}}
    records = make(folder, {"exact": Runner(rate=0.3, certificate=certificate), "other": Runner()}, facts, seeds=1)
    (other,) = (record for record in records if record.optimizer == "other")
    for point, loss in zip(other.curve[-len(losses) :], losses, strict=True):
        point["loss"] = loss
    for point in other.curve[: -len(losses)]:
        point["loss"] = 2.0
    other.status = status
    (folder / "records.jsonl").write_text("".join(record.line() + "\n" for record in records))
    whole = load_study([read(folder)])
    (text,) = sentences(whole, "p", certificates.certificates(whole))
    ((other_optimizer, regret),) = regrets(whole, "p", certificates.certificates(whole)).to_numpy()
    assert other_optimizer == "other"
    return f"{text} Regret: {regret}."


@pytest.mark.parametrize(
    ("dtype", "below", "contradiction"),
    [("float64", 1e-10, True), ("float64", 1e-13, False), ("float32", 1e-5, True), ("float32", 1e-7, False)],
)
def test_below_a_continuous_certificate_by_more_than_rounding(
    dtype: str, below: float, contradiction: bool, tmp_path: Path
) -> None:
    assert ("CONTRADICTION: other" in about(tmp_path, WHOLE, [0.5 - below], dtype)) == contradiction


def test_below_it_on_the_way_is_a_contradiction_too(tmp_path: Path) -> None:
    assert "CONTRADICTION: other" in about(tmp_path, WHOLE, [0.4, 0.6], "float64")
    grid = WHOLE | {"scope": "grid {-1, 0, 1}"}
    assert "below it" not in about(tmp_path, grid, [0.4, 0.6], "float64")


def test_regret_to_the_optimum(tmp_path: Path) -> None:
    assert "Regret: 0.250." in about(tmp_path, WHOLE, [0.75], "float64")


def test_regret_to_an_interval_is_a_range(tmp_path: Path) -> None:
    interval = WHOLE | {"lower": 0.25, "exact": False, "scope": "grid {-1, 0, 1}"}
    assert "Regret: 0.250 to 0.500." in about(tmp_path, interval, [0.75], "float64")


def test_over_all_weights_no_regret_is_negative(tmp_path: Path) -> None:
    interval = WHOLE | {"lower": 0.25, "exact": False}
    assert "Regret: 0 to 0.150." in about(tmp_path, interval, [0.4], "float64")


def test_regret_within_rounding_is_none(tmp_path: Path) -> None:
    assert "Regret: 0." in about(tmp_path, WHOLE, [0.5 + 1e-16], "float64")


def test_regret_below_a_grid_optimum_is_negative(tmp_path: Path) -> None:
    text = about(tmp_path, WHOLE | {"scope": "grid {-1, 0, 1}"}, [0.25], "float64")
    assert "Regret: \N{MINUS SIGN}0.250." in text and "other ended below it, which is no contradiction" in text


def test_a_failed_trial_has_no_regret(tmp_path: Path) -> None:
    assert "Regret: no result." in about(tmp_path, WHOLE, [0.75], "float64", "failed")
