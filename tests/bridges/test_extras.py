"""Without an extra: one line that says what to install. Runs whether the extras are there or not."""

from __future__ import annotations

from typing import Any

import pytest

from optbench.core.trial import RequestError
from optbench.registry.catalog import Catalog
from optbench.registry.listing import listing


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine on which no optional package is installed."""
    import importlib.util

    real = importlib.util.find_spec
    absent = ("cocoex", "cocopp", "ioh", "iohinspector", "benchopt", "nevergrad")

    def find(name: str, *more: Any) -> Any:
        return None if name.split(".")[0] in absent else real(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    for module in ("optbench.problems.outside", "optbench.registry.catalog"):
        monkeypatch.setattr(f"{module}.find_spec", find)


def test_a_function_of_coco_names_the_extra(bare: None) -> None:
    with pytest.raises(RequestError, match=r"pip install 'optbench\[coco\]'"):
        Catalog().problem("bbob[f=1]")


def test_list_says_how_to_install_what_is_absent(bare: None) -> None:
    rows = {row["name"]: row.get("install") for row in listing()["problems"]}
    assert rows["ioh-sbox"] == "'optbench[ioh]'"
    assert rows["bbob"] == "'optbench[coco]'" and rows["sphere"] is None


def test_an_optimizer_of_nevergrad_names_the_extra(bare: None) -> None:
    with pytest.raises(RequestError, match=r"needs the package nevergrad: .*'optbench\[nevergrad\]'"):
        Catalog().optimizer("nevergrad:NGOpt", {})
