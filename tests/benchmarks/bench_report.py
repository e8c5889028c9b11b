"""20,000 records of 60 points: time to the report and size of the page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optbench import report

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' own module of made-up results
from helpers.synthetic import Runner, make


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    runners = {f"optimizer{k:02d}": Runner(rate=4.0 - 0.07 * k, noise=0.3) for k in range(50)}
    make(folder, runners, [f"problem{k:02d}" for k in range(20)], seeds=20, points=60, rng=np.random.default_rng(0))
    return folder


def test_report_of_twenty_thousand_records(benchmark: Any, folder: Path) -> None:
    written = benchmark.pedantic(report.write, args=([folder],), rounds=1)
    size = written.html.stat().st_size
    benchmark.extra_info["page_megabytes"] = size / 1e6
    assert size < 12e6
