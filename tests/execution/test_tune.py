"""The settings that are tried: as many for all, spread over the space, the same everywhere, refused by name."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import qmc

from optbench.core.trial import RequestError
from optbench.execution import tuning
from optbench.execution.plan import plan
from optbench.execution.suite import Suite, read_suite
from optbench.optimizers import OPTIMIZERS
from optbench.registry.catalog import Catalog
from optbench.registry.specs import parse

CATALOG = Catalog()
GOOD = 'problems = ["sphere"]\noptimizers = ["adam"]\n'
PLUGIN = '''
from dataclasses import dataclass
from typing import ClassVar

@dataclass(frozen=True)
class Mine:
    """A method of somebody's own."""
    size: int = 3
    rate: float = 0.1
    name: ClassVar[str] = "mine"
    needs: ClassVar[str] = "value"
    space: ClassVar[dict] = {space}

    def minimise(self, f):
        f.value(f.start()[:, None])
'''


@pytest.mark.parametrize("name", [name for name, entry in OPTIMIZERS.items() if entry.space])
def test_every_declared_space_gives_settings_that_build(name: str) -> None:
    entry = OPTIMIZERS[name]
    if entry.extra:
        pytest.importorskip(entry.extra)
    (found,) = tuning.competitors([name], 20, CATALOG)
    assert len(found.hypers) == len({str(hyper) for hyper in found.hypers}) == 20
    assert all(hyper.keys() == entry.space.keys() for hyper in found.hypers)


def test_settings_fill_every_eighth_of_a_range_once_and_evenly_together() -> None:
    space = {"a": (1e-4, 1.0, "log"), "b": (2.0, 10.0, "linear")}
    drawn = tuning.settings("anything", space, 8)
    a = np.log10([s["a"] for s in drawn]) / 4 + 1
    b = (np.array([s["b"] for s in drawn]) - 2) / 8
    for share in (a, b):
        assert sorted((share * 8).astype(int)) == list(range(8))
    random = [qmc.discrepancy(np.random.default_rng(k).random((8, 2))) for k in range(50)]
    assert qmc.discrepancy(np.stack([a, b], 1)) < np.quantile(random, 0.1)


def test_settings_are_the_same_on_every_machine_and_differ_by_name() -> None:
    space = {"lr": (1e-4, 1.0, "log"), "schedule": ("constant", "cosine")}
    assert tuning.settings("adam", space, 3) == [  # pinned: records are found again by these numbers
        {"lr": 0.000828, "schedule": "cosine"},
        {"lr": 0.0828, "schedule": "constant"},
        {"lr": 0.828, "schedule": "cosine"},
    ]
    assert tuning.settings("adam", space, 20)[:5] == tuning.settings("adam", space, 5)
    assert tuning.settings("sgd", space, 3) != tuning.settings("adam", space, 3)


def test_values_keep_their_kind_and_their_range() -> None:
    space = {"n": (2, 9, "log"), "m": (1, 3, "linear"), "x": (0.12345, 0.12399, "linear"), "c": (True, None, 0.5)}
    drawn = tuning.settings("kinds", space, 64)
    assert {type(s["n"]) for s in drawn} == {type(s["m"]) for s in drawn} == {int}
    assert {s["n"] for s in drawn} == set(range(2, 10)) and {s["m"] for s in drawn} == {1, 2, 3}
    assert all(0.12345 <= s["x"] <= 0.12399 for s in drawn)
    assert Counter(map(str, (s["c"] for s in drawn))).keys() == {"True", "None", "0.5"}


def test_a_space_of_few_choices_gives_each_once() -> None:
    drawn = tuning.settings("few", {"a": ("x", "y", "z"), "b": (True, False)}, 20)
    assert len(drawn) == 6


def test_a_suite_tunes_what_declares_a_space_and_leaves_what_fixes_it() -> None:
    suite = Suite("t", ("sphere",), ("adam", "adam[lr=0.1]", "momentum[batch=8]", "nelder_mead"), seeds=3, tune=5)
    trials = plan(suite, CATALOG).trials
    settings = Counter((trial.optimizer, dict(trial.hyper).get("batch")) for trial in trials)
    assert settings == {("adam", None): (5 + 1) * 3, ("momentum", 8): 5 * 3, ("nelder_mead", None): 3}
    facts = tuning.facts(5, tuning.competitors(suite.optimizers, 5, CATALOG))
    assert facts["settings"] == 5
    found = facts["competitors"]
    assert set(found["adam"]["labels"]) <= {trial.label for trial in trials}
    assert [len(one.get("labels", ())) for one in found.values()] == [5, 0, 5, 0]
    assert found["adam[lr=0.1]"]["why"] == "fixes lr"
    assert found["nelder_mead"]["why"] == "no search space declared"
    assert plan(Suite("t", ("sphere",), ("adam",), seeds=1), CATALOG).trials[0].hyper == ()


def test_more_settings_keep_the_records_of_fewer() -> None:
    few, many = (plan(Suite("t", ("sphere",), ("adam", "pso"), seeds=2, tune=n), CATALOG).trials for n in (5, 20))
    assert {trial.key for trial in few} < {trial.key for trial in many}


def test_a_plugin_declares_a_space(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN.replace("{space}", '{"size": (1, 9, "linear"), "rate": (1e-3, 1.0, "log")}'))
    trials = plan(Suite("t", ("sphere",), ("mine",), seeds=1, tune=4), Catalog([str(file)])).trials
    assert len({trial.hyper for trial in trials}) == 4
    assert all(isinstance(dict(trial.hyper)["size"], int) for trial in trials)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ('{"rate": (1.0, 0.1, "log")}', "search space of mine: rate = .* the lower first"),
        ('{"rate": (0.0, 0.1, "log")}', "a log scale begins above 0"),
        ('{"rate": ("a", 0.1, "linear")}', "must be two numbers"),
        ('{"rate": 0.1}', "is neither"),
        ('{"rate": ()}', "is neither"),
        ('{"rat": (0.1, 0.2, "log")}', "unknown setting 'rat', did you mean 'rate'"),
        ('{"size": (0.1, 0.2, "log")}', "is not int"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(space: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN.replace("{space}", space))
    with pytest.raises(RequestError, match=message):
        plan(Suite("t", ("sphere",), ("mine",), seeds=1, tune=4), Catalog([str(file)]))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("-1", r"line 3: tune = -1, it must be 0 \(optimizers run as they come\) to 64 settings"),
        ("100", r"line 3: tune = 100"),
        ('"8"', r"line 3: tune is a str, it must be a int"),
        ("1.5", r"line 3: tune is a float"),
        ("true", r"line 3: tune is a bool"),
    ],
)
def test_a_wrong_number_of_settings_is_refused_by_line(value: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD + f"tune = {value}\n")
    with pytest.raises(RequestError, match=message):
        read_suite(str(path))


def test_a_wrong_number_from_python_is_refused_too() -> None:
    with pytest.raises(RequestError, match="tune = 65"):
        plan(Suite("t", ("sphere",), ("adam",), tune=65), CATALOG)


def test_the_suite_file_says_how_many_settings(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD + "tune = 8\n")
    suite = read_suite(str(path))
    path.write_text(suite.toml())
    assert suite.tune == 8 == read_suite(str(path)).tune


def test_labels_read_back_as_the_settings() -> None:
    for one in tuning.competitors(["adam", "openai_es", "pso"], 20, CATALOG):
        for label, hyper in zip(tuning.facts(20, [one])["competitors"][one.label]["labels"], one.hypers, strict=True):
            assert parse(label) == [(one.name, dict(hyper))]
