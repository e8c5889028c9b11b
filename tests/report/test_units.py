"""A report on a budget in steps or seconds speaks of steps or seconds: passes are named where work is meant."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import optbench
from optbench.report.analysis.budget import in_words

WORK = r"passes a step|Passes may be|`curves_passes`"  # what is of passes in any unit, and a name of a file


@pytest.mark.parametrize("unit", ["steps", "seconds"])
def test_no_word_of_passes_is_left(tmp_path: Path, unit: str) -> None:
    rows = [
        {"optimizer": f"{name}[lr={lr}]", "seed": seed, unit: at, "loss": 10 ** (-rate * lr * at / 100) + 0.001 * seed}
        for name, rate in (("fast", 3.0), ("slow", 2.0))
        for lr in (0.3, 0.6, 1.0)
        for seed in range(4)
        for at in np.linspace(0.0, 100.0, 11)
    ]
    study = optbench.from_frame(pd.DataFrame(rows).assign(valid_loss=lambda table: 1.1 * table["loss"]), tmp_path / "r")
    from optbench import report

    report.write([tmp_path / "r"], tmp_path / "out", report.View())
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8") + study.verdict
    left = [line for line in text.splitlines() if re.search("passes", re.sub(WORK, "", line), re.IGNORECASE)]
    assert not left
    assert f"Cost to target in {unit}" in text


def test_words_of_a_unit() -> None:
    assert in_words("Passes count; 3 passes, (passes), 2 (passes a step)", "steps") == (
        "Steps count; 3 steps, (steps), 2 (passes a step)"
    )
    assert in_words("3 passes", "passes") == "3 passes"
