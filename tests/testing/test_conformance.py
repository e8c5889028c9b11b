"""Every built-in passes the checks that plugin authors get, by being in the table."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest
import torch

from optbench.core.trial import RequestError
from optbench.optimizers import OPTIMIZERS
from optbench.problems import PROBLEMS
from optbench.registry.catalog import Catalog
from optbench.testing.conformance import checks_of
from optbench.testing.optimizer_checks import CheckError

CATALOG = Catalog()
# Problems that need what this machine may not have; their own tests cover them.
NEED_FILES = ("cnn_fashion_full", "own_images_class", "own_images_regression")


def every(names: list[str]) -> Iterator[object]:
    for name in names:
        extra = OPTIMIZERS[name].extra if name in OPTIMIZERS else None
        module = (extra or "").partition("==")[0].replace("-", "_")
        if extra and importlib.util.find_spec(module) is None:
            yield pytest.param(name, "", marks=pytest.mark.skip(reason=f"needs {extra}"))
            continue
        for title in checks_of(name, CATALOG):
            yield pytest.param(name, title, id=f"{name}-{title}")


@pytest.mark.parametrize(("name", "title"), list(every(list(OPTIMIZERS))))
def test_optimizer(name: str, title: str) -> None:
    checks_of(name, CATALOG)[title]()


@pytest.mark.parametrize(("name", "title"), list(every([name for name in PROBLEMS if name not in NEED_FILES])))
def test_problem(name: str, title: str) -> None:
    checks_of(name, CATALOG)[title]()


BROKEN = """
from dataclasses import dataclass
from typing import ClassVar
import random, torch

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
def test_each_check_catches_what_it_is_for(title: str, tmp_path) -> None:
    file = tmp_path / "broken.py"
    file.write_text(BROKEN.format(name="Broken", lanes=title == "lanes equal serial", body=CASES[title]))
    checks, threads = checks_of("broken", Catalog([str(file)])), torch.get_num_threads()
    try:
        with pytest.raises(CheckError):
            checks[f"{title} (sphere)"]()
    finally:
        torch.set_num_threads(threads)


def test_a_name_that_is_neither_is_refused() -> None:
    with pytest.raises(RequestError, match="neither an optimizer nor a problem"):
        checks_of("addam", CATALOG)
