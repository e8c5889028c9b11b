"""An optimizer keeps to the oracle that it declares, and numbers that cannot be are a failure."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.plugins import HEAD

from optbench.core.trial import Trial
from optbench.execution.lane_group import run_group
from optbench.records.schema import Record
from optbench.registry.catalog import Catalog

HONEST = "\n        while True: f.value(f.start(3))"
CHEATS = {
    "GetsGradients": ("f.value_and_grad(f.start())", "declares needs = 'value' but calls value_and_grad"),
    "TakesParameters": ("f.parameters()", "declares needs = 'value' but calls parameters"),
    "TakesAClosure": ("f.closure()", "declares needs = 'value' but calls closure"),
    "TakesTheStructure": ("f.structure()", "declares needs = 'value' but calls structure"),
    "Overdraws": (f"f._meter.limit *= 20{HONEST}", "inconsistent: spent 600 of 30 passes"),
    "TurnsTheClockBack": (f"f._meter._seconds = -1e6{HONEST}", "inconsistent: -1e+06 seconds"),
    "TurnsTheClockOn": (f"f._meter._seconds = 1e6{HONEST}", "inconsistent: 1e+06 seconds by its clock"),
    "GetsThingsCheap": (
        "f._meter.costs = f._meter.costs._replace(forward=1); f._meter.limit = 30000"
        "\n        for _ in range(9): f.value(f.start(3))",
        "inconsistent: ",
    ),
    "ForgetsCounts": (f"f._meter._forward = -500{HONEST}", "inconsistent: "),
    "EditsItsCurve": (
        "f.value(f.start(3)); f._scoring.curves[0].append({**f._scoring.curves[0][0], 'passes': 500.0, 'loss': 0.0})",
        "inconsistent: the curve",
    ),
    "TurnsItsCurve": (f"f._scoring.curves[0][0]['passes'] = 9.0{HONEST}", "inconsistent: the curve does not begin"),
    "SendsBackward": (
        f"f._needs = 'grad'; f.value_and_grad(f.start()){HONEST}",
        "inconsistent: needs = 'value', but",
    ),
}


def trained(path: Path, name: str, body: str) -> Record:
    """The record of a plugin with this minimise."""
    path.write_text(
        f"{HEAD}\nclass {name}(Base):\n    name: ClassVar[str] = 'it'\n    def minimise(self, f):\n        {body}\n"
    )
    (record,) = run_group([Trial("logistic_cancer", "it", (), 0, 30.0)], Catalog((str(path),)))
    return record


@pytest.mark.parametrize("name", CHEATS)
def test_what_a_cheat_shows_is_a_failure(name: str, tmp_path: Path) -> None:
    body, reason = CHEATS[name]
    record = trained(tmp_path / "cheat.py", name, body)
    assert record.status == "failed" and record.error
    assert reason in record.error and "\n" not in record.error


def test_an_honest_optimizer_is_none(tmp_path: Path) -> None:
    record = trained(tmp_path / "honest.py", "Honest", HONEST.strip())
    assert (record.status, record.error, record.passes) == ("spent", None, 30)
