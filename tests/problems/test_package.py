"""What the package carries: a phantom that can be made again, little in all. A new problem of a few lines joins it."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path

import numpy as np
import pytest

import optbench
from optbench.problems import PROBLEMS, atrophy_phantom, shared
from optbench.records.reader import load
from optbench.testing.conformance import check

ROOT = Path(__file__).parents[2]
NEW = '''"""ring: is a point inside a ring?"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from optbench.core.problem import Best, Problem, Splits, split


@dataclass(frozen=True)
class Ring(Problem):
    name, track, loss_name, passes = "ring", "supervised", "bce", 100.0
    start, best = 0.69, Best(0.0, "bound")

    def network(self):
        return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))

    def data(self):
        x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
        return Splits(*((x[part], (x[part].norm(dim=1) < 1).float()) for part in split(200)))

    def loss(self, net, batch):
        return F.binary_cross_entropy_with_logits(net(batch[0]).squeeze(1), batch[1])
'''


def test_the_phantom_in_the_package_is_what_its_code_makes() -> None:
    """The first pictures again, to one grey level (interpolation may round differently elsewhere)."""
    archive = shared.arrays("atrophy_phantom_1500x32.npz")
    pictures, severity = atrophy_phantom.generate(12)
    assert np.array_equal(severity, archive["severity"][:12])
    difference = atrophy_phantom.stored(pictures).astype(int) - archive["images"][:12]
    assert np.abs(difference).max() <= 1


def test_a_severe_phantom_has_larger_ventricles() -> None:
    """Severity is in the picture where it should be: darker about the ventricles (fluid is dark on T1), not above."""
    archive = shared.arrays("atrophy_phantom_1500x32.npz")
    images, severity = archive["images"].astype(float), archive["severity"]
    images /= images.mean((1, 2), keepdims=True)  # the scanner's gain
    ventricles = images[:, 10:14, [11, 12, 13, 14, 17, 18, 19, 20]].mean((1, 2))
    above = images[:, 6:8, 8:24].mean((1, 2))
    assert np.corrcoef(ventricles, severity)[0, 1] < -0.3
    assert abs(np.corrcoef(above, severity)[0, 1]) < 0.1


def test_every_problem_on_the_phantom_is_named_synthetic() -> None:
    for name, entry in PROBLEMS.items():
        module = importlib.import_module(entry.path.partition(":")[0])
        if "atrophy_phantom" in Path(str(module.__file__)).read_text() and "own_images" not in name:
            assert "synthetic" in name and "synthetic" in entry.summary


def test_data_and_code_stay_under_six_megabytes() -> None:
    """A wheel holds these files, most of them compressed already."""
    files = [
        p for folder in ("optbench", "problems") for p in (ROOT / folder).rglob("*") if "__pycache__" not in p.parts
    ]
    assert sum(path.stat().st_size for path in files if path.is_file()) < 6e6


def test_a_wheel_holds_every_file_that_the_code_opens() -> None:
    carried = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    included = {
        path
        for package, patterns in carried.items()
        if package != "optbench.problems"
        for pattern in patterns
        for path in ROOT.joinpath(*package.split(".")).glob(pattern)
    }
    files = {
        path
        for path in (ROOT / "optbench").rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    }
    assert {path.suffix for path in files} >= {".toml", ".j2"}
    assert files <= included, files - included


def test_every_data_file_has_a_checksum_and_a_licence() -> None:
    folder = ROOT / "problems" / "data"
    carried = {path.name for path in folder.iterdir()} - {"DATA_LICENSES.md"}
    licences = (folder / "DATA_LICENSES.md").read_text()
    assert carried == set(shared.FILES)
    for name, digest in shared.FILES.items():
        assert f"| {name} |" in licences and digest[:16] in licences


def test_a_new_problem_of_a_few_lines_joins_a_suite_and_passes_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(NEW.splitlines()) < 30
    monkeypatch.chdir(tmp_path)
    Path("ring.py").write_text(NEW)
    assert [f"{found.name}: {found.detail}" for found in check("ring.py") if not found.ok] == []
    Path("mine.toml").write_text('problems = ["ring", "line_mse"]\noptimizers = ["adam", "random_search"]\nseeds = 2\n')
    optbench.run("mine.toml", "results", plugins=["ring.py"], workers=1)
    trials = load("results")
    assert len(trials) == 8 and set(trials["status"]) <= {"spent", "finished"}
    assert (trials[trials["problem"] == "ring"]["last_loss"] < 0.69).all()
