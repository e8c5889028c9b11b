"""Every built-in passes the checks that plugin authors get, by being in the table."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from optbench.core.trial import RequestError
from optbench.engine.data import splits
from optbench.optimizers import OPTIMIZERS
from optbench.problems import PROBLEMS
from optbench.registry.catalog import Catalog
from optbench.testing import Finding, check, conformance
from optbench.testing.conformance import checks_of, joined
from optbench.testing.hints import with_hint
from optbench.testing.runs import CheckError

CATALOG = Catalog()
# Problems that need data of the user's own; their own tests cover them.
NEED_FILES = ("cnn_fashion_full", "own_images_class", "own_images_regression")
CARRIED = [name for name, entry in PROBLEMS.items() if not entry.data_set and name not in NEED_FILES]


@cache
def checks(name: str) -> dict[str, Callable[[], None]]:
    """The checks of one name, built once: they share their trials."""
    return checks_of(name, CATALOG)


def every(names: Iterable[str]) -> Iterator[ParameterSet]:
    """(name, check) for every check of the names."""
    for name in names:
        extra = OPTIMIZERS[name].extra if name in OPTIMIZERS else None
        module = (extra or "").partition("==")[0].replace("-", "_")
        if extra and importlib.util.find_spec(module) is None:
            yield pytest.param(name, "", marks=pytest.mark.skip(reason=f"needs {extra}"))
            continue
        problem = PROBLEMS.get(name)
        if problem and problem.package and importlib.util.find_spec(problem.package) is None:
            yield pytest.param(name, "", marks=pytest.mark.skip(reason=f"needs optbench[{problem.extra}]"))
            continue
        for title in checks(name):
            yield pytest.param(name, title, id=f"{name}-{title}")


@pytest.mark.parametrize(("name", "title"), list(every(OPTIMIZERS)))
def test_optimizer(name: str, title: str) -> None:
    checks(name)[title]()


@pytest.mark.parametrize(("name", "title"), list(every(CARRIED)))
def test_problem(name: str, title: str) -> None:
    checks(name)[title]()


BROKEN = """
from dataclasses import dataclass
from typing import ClassVar
import random
import numpy as np
import torch

@dataclass(frozen=True)
class {name}:
    needs: ClassVar[str] = "value"
    lanes: ClassVar[bool] = {lanes}
    def minimise(self, f):
        x = f.start()
        best = f.value(x[:, None])
        while True:
            {body}
"""
CASES = {
    "stops on budget": "y = x + 0.1 * f.randn(f.dim)\n            try: f.value(y[:, None])\n"
    "            except BaseException:\n                if f.progress == 1: f.value(y[:, None])",
    "same trial, same record": "x = x + 0.1 * random.SystemRandom().gauss(0, 1); f.value(x[:, None]); f.recommend(x)",
    "leaves its process as it was": "torch.set_num_threads(3); f.value(x[:, None])",
    "beats its start": "f.value(x[:, None] + 100.0); f.recommend(x + 100.0)",
    "uses only its declared oracle": "g = f.value_and_grad(x)[1]; x = x - 0.01 * g; f.recommend(x)",
    "lanes equal serial": "x = x * 0.9 + 0.1 * x.mean(0, keepdim=True); f.value(x[:, None]); f.recommend(x)",
}


@pytest.mark.parametrize("title", CASES)
def test_each_check_catches_what_it_is_for(title: str, tmp_path: Path) -> None:
    with pytest.raises(CheckError):
        broken(tmp_path, CASES[title], lanes=title == "lanes equal serial")[f"{title} (sphere)"]()


def broken(folder: Path, body: str, lanes: bool = True) -> dict[str, Callable[[], None]]:
    """The checks of an optimizer with this loop."""
    file = folder / "broken.py"
    file.write_text(BROKEN.format(name="Broken", lanes=lanes, body=body))
    return checks_of("broken", Catalog([str(file)]))


# What breaks lanes or repetition, and what the check says of it
CAUSES = {
    "torch": ("x = x + 0.1 * torch.randn(x.shape); f.value(x[:, None])", "draws from torch's global generator"),
    "numpy": (
        "x = x + 0.1 * torch.as_tensor(np.random.randn(*x.shape)); f.value(x[:, None])",
        r"draws from NumPy's global generator \(np.random\); draw from f.rand\(...\)",
    ),
    "python": ("x = x + 0.1 * random.gauss(0, 1); f.value(x[:, None])", "draws from Python's global generator"),
    "type": ("x = (x * (1 - 0.1 * x.float().mean())).float(); f.value(x[:, None])", "its points are torch.float32"),
    "mixes": ("x = x - 0.1 * x.mean(0, keepdim=True); f.value(x[:, None])", "state lanes = False"),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_lanes_that_are_not_apart_are_told_why(cause: str, tmp_path: Path) -> None:
    body, told = CAUSES[cause]
    with pytest.raises(CheckError, match=told) as caught:
        broken(tmp_path, body)["lanes equal serial (sphere)"]()
    assert ("lanes = False" in str(caught.value)) == (cause == "mixes")


def test_a_generator_that_the_seed_does_not_set_is_named(tmp_path: Path) -> None:
    body = "x = x + 0.1 * np.random.default_rng().normal(); f.value(x[:, None])"
    with pytest.raises(CheckError, match="a generator that the trial's seed does not set"):
        broken(tmp_path, body)["same trial, same record (sphere)"]()


def test_data_that_an_optimizer_changes_is_named(tmp_path: Path) -> None:
    found = broken(tmp_path, "f._data.train[0].mul_(0.999); f.value(x[:, None])")
    inputs = splits(CATALOG.problem("mlp_iris"), "cpu").train[0]
    before = inputs.clone()
    try:
        for title in ("leaves its process as it was", "same trial, same record"):  # the cause of both, and no generator
            with pytest.raises(CheckError, match="the problem's data has other values afterwards"):
                found[f"{title} (mlp_iris)"]()
    finally:
        inputs.copy_(before)  # the problem keeps its data, and other tests have the same


def test_one_error_is_one_finding_that_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "no_gradient.py"
    file.write_text(BROKEN.format(name="NoGradient", lanes=True, body="x = x - f.grad(x)"))
    failed = [finding for finding in check(str(file)) if not finding.ok]
    assert len(failed) == 1 and "and 11 more" in failed[0].name
    assert "has no attribute 'grad'" in failed[0].detail and "f.value_and_grad(x)" in failed[0].detail


def test_findings_with_different_reasons_stay_apart() -> None:
    given = [Finding("a", False, "12 points"), Finding("b", True), Finding("c", False, "7 points"), Finding("d", False)]
    assert joined(given) == [Finding("a and 1 more", False, "12 points"), given[1], given[3]]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("RuntimeError: mat1 and mat2 must have the same dtype, but got Double and Float", "dtype=f.dtype"),
        ("RuntimeError: element 0 of tensors does not require grad", "f.value_and_grad(x)"),
        ("RuntimeError: vmap: It looks like you're calling .item() on a Tensor", "vmaps = False"),
        ("RuntimeError: a leaf Variable that requires grad is being used in an in-place operation", "x.clone()"),
    ],
)
def test_hints(text: str, hint: str) -> None:
    assert hint in with_hint(text) and with_hint(with_hint(text)) == with_hint(text)
    assert with_hint("ValueError: no luck") == "ValueError: no luck"


PROBLEM = """
from dataclasses import dataclass
import torch
from torch import nn
from optbench.core.problem import Best, Problem, Splits

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)
    def forward(self, x):
        {forward}

@dataclass(frozen=True)
class Odd(Problem):
    name, track, loss_name, best = "odd", "supervised", "mse", Best(0.0, "bound")
    {stated}
    @property
    def start(self):
        from optbench.problems.shared import measured_start
        return measured_start(self)
    def network(self):
        return Net()
    def data(self):
        x = torch.randn(32, 3, generator=torch.Generator().manual_seed(0), dtype={dtype})
        return Splits((x, x.sum(1, keepdim=True) + 3))
    def loss(self, net, batch):
        x, y = batch
        {loss}
"""
PLAIN = {
    "forward": "return self.layer(x)",
    "stated": "passes = 50.0",
    "dtype": "torch.float32",
    "loss": "return (net(x) - y).square().mean()",
}
ODD = {
    "values only": (
        {"stated": 'gives = frozenset({"value"})', "loss": "return (net(x) - y).detach().square().mean()"},
        "",
    ),
    "control flow": (
        {"stated": "vmaps = True", "forward": "return self.layer(x) if self.layer(x).sum() > 0 else self.layer(2 * x)"},
        "vmaps = False",
    ),
    "data in place": ({"loss": "x += 0.1; return (net(x) - y).square().mean()"}, "changes the data in place"),
    "number type": ({"stated": "dtype = torch.float32", "dtype": "torch.float64"}, "two number types meet"),
}


@pytest.mark.parametrize("case", ODD)
def test_problems_are_told_what_to_do(case: str, tmp_path: Path) -> None:
    changes, told = ODD[case]
    file = tmp_path / "odd.py"
    file.write_text(PROBLEM.format(**PLAIN | changes))
    failed = [finding for finding in check(str(file)) if not finding.ok]
    assert len(failed) <= 1 or case == "data in place", failed
    assert any(told in finding.detail for finding in failed) if told else not failed, failed


def test_a_name_that_is_neither_is_refused() -> None:
    with pytest.raises(RequestError, match="neither an optimizer nor a problem"):
        checks_of("addam", CATALOG)


@pytest.mark.parametrize(
    ("body", "title", "detail"),
    [
        ("__import__('os')._exit(3)", "broken: runs", "it ended the process of its checks, with code 3"),
        ("pass", "broken: returns", "the checks took more than"),
    ],
)
def test_an_optimizer_that_ends_its_process_or_never_returns_is_a_finding(
    body: str, title: str, detail: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "broken.py"
    file.write_text(BROKEN.format(name="Broken", lanes=True, body=body))
    monkeypatch.setattr(conformance, "TIMEOUT", 180.0 if "exit" in body else 5.0)
    (finding,) = conformance.check(str(file))
    assert (finding.name, finding.ok) == (title, False) and finding.detail.startswith(detail)
