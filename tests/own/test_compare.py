"""`optbench.compare` on one's own things: from any thread, any number of times, and what it gives shows itself."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import matplotlib
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import optbench
from optbench.core.objective import Objective
from optbench.core.trial import RequestError
from optbench.records.files import read_records
from optbench.report.interactive import Comparison

ROOT = Path(__file__).parents[2]
X = torch.randn(80, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] * X[:, 1] > 0).long()


class Net(nn.Module):
    """A network that only this test module has."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.inner(x)
        return found


@dataclass(frozen=True)
class Walk:
    """Random steps that are kept where they are better."""

    sigma: float = 0.1

    needs: ClassVar[str] = "value"
    lanes: ClassVar[bool] = True

    def minimise(self, f: Objective) -> None:
        x = f.start()
        best = f.value(x[:, None])
        while True:
            y = x + self.sigma * f.randn(f.dim)
            loss = f.value(y[:, None])
            x, best = torch.where(loss <= best, y, x), torch.minimum(loss, best)


def by_hand(f: Objective) -> None:
    """Plain descent as a function."""
    x = f.start()
    while True:
        x = x - 0.1 * f.value_and_grad(x)[1]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    folder = tmp_path_factory.mktemp("study")
    problem = optbench.problem(Net, "cross-entropy", (X, Y), name="signs")
    given = {
        "adam": "adam[lr=0.003,0.03,0.3]",
        "walk": Walk(sigma=0.2),
        "function": by_hand,
        "made": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
        "instance": torch.optim.SGD(Net().parameters(), lr=0.1, momentum=0.9),
        "partial": partial(torch.optim.RMSprop, lr=0.01),
    }
    return optbench.compare(problem, given, seeds=3, passes=12, workers=1, out=folder / "out", progress=False)


def test_classes_instances_and_functions_of_this_very_file_are_trained_in_workers(study: Comparison) -> None:
    trials = study.trials()
    assert set(trials["status"]) == {"spent"} and len(trials) == 8 * 3
    assert {"walk", "function", "made", "instance", "partial", "adam[lr=0.3]"} == set(trials["label"]) - {
        "adam[lr=0.003]",
        "adam[lr=0.03]",
    }
    last = trials.groupby("label")["last_loss"].median()
    assert last["made"] == pytest.approx(last["instance"], rel=1e-4)  # the same method by two ways


def test_it_says_draws_and_shows(study: Comparison, tmp_path: Path) -> None:
    assert "signs" in study.verdict and "lowest seen in this study" in study.verdict
    table = study.table()
    assert table.index[0] == table["loss"].idxmin() and {"valid_accuracy", "test_loss"} <= set(table.columns)
    settings = dict(matplotlib.rcParams)
    _, ax = matplotlib.pyplot.subplots()
    assert study.plot_curves(ax, column="valid_accuracy") is ax and len(ax.lines) == 8
    for draw in (study.plot_targets, study.plot_ranks, study.plot_sensitivity):
        assert draw().get_xlabel()
    matplotlib.pyplot.close("all")
    page = study.to_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == page and "</html>" in page
    assert "<table" in study._repr_html_() and "data:image/png" in study._repr_html_()
    assert dict(matplotlib.rcParams) == settings  # a notebook's own style stays


def test_ranks_over_seeds_are_those_by_hand(study: Comparison) -> None:
    trials = study.trials()
    order = np.array([trials[trials["seed"] == s].sort_values("final")["label"].tolist() for s in range(3)])
    mean = {label: float(np.mean([list(row).index(label) + 1 for row in order])) for label in set(trials["label"])}
    ax = study.plot_ranks()
    best = ax.get_yticklabels()[-1].get_text()
    matplotlib.pyplot.close("all")
    assert mean[best] == min(mean.values())


def test_wrong_names_are_refused(study: Comparison) -> None:
    with pytest.raises(RequestError, match="valid_accuracy"):
        study.plot_curves(column="accuracy")
    with pytest.raises(RequestError, match="several values of 'sigma'"):
        study.plot_sensitivity(setting="sigma")
    with pytest.raises(RequestError, match="there are signs"):
        study.plot_curves(problem="sign")


def test_the_same_again_runs_nothing_and_a_change_of_the_model_runs_anew(tmp_path: Path) -> None:
    def asked(width: int) -> Comparison:
        net = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2))
        problem = optbench.problem(net, "cross-entropy", (X, Y), name="mlp")
        return optbench.compare(problem, ["sgd"], seeds=2, passes=5, workers=1, out=tmp_path, progress=False)

    first, again = asked(6).trials(), asked(6).trials()
    assert first["seconds"].tolist() == again["seconds"].tolist()  # the very records
    assert asked(7).trials()["seconds"].tolist() != first["seconds"].tolist()
    assert len(read_records(tmp_path)[0]) == 2


def test_another_thread_may_compare(tmp_path: Path) -> None:
    found: list[Comparison] = []

    def work() -> None:
        found.append(
            optbench.compare("line_mse", ["adam", Walk], seeds=2, passes=5, workers=1, out=tmp_path, progress=False)
        )

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found and set(found[0].trials()["status"]) == {"spent"}, found[0].trials()["error"].tolist()


def test_what_cannot_be_sent_and_a_loss_without_gradient_are_refused(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Holds:
        lock: object
        needs: ClassVar[str] = "value"

        def minimise(self, f: Objective) -> None:
            """Nothing."""

    with pytest.raises(RequestError, match="holds cannot be sent to a worker process"):
        optbench.compare("line_mse", [Holds(threading.Lock())], out=tmp_path)
    flat = optbench.problem(Net, lambda o, t: (o.argmax(1) != t).float().mean(), (X, Y))
    assert flat.gives == {"value"}
    with pytest.raises(RequestError, match="adam on net: needs 'grad'"):
        optbench.compare(flat, ["adam"], out=tmp_path)
    with pytest.raises(RequestError, match="a lambda has no name"):
        optbench.compare("line_mse", [lambda p: torch.optim.SGD(p)], out=tmp_path)
    with pytest.raises(RequestError, match="built-in"):
        optbench.compare("line_mse", {"adam": Walk}, out=tmp_path)


def test_the_ten_lines_of_the_readme_run_as_a_script(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    example = text.partition("## Your model, your data")[2].partition("```python\n")[2].partition("```")[0]
    assert "compare" in example and len(example.strip().splitlines()) <= 14
    (tmp_path / "ten.py").write_text(example, encoding="utf-8")
    done = subprocess.run([sys.executable, "ten.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "digits" in done.stdout and (tmp_path / "study.html").stat().st_size > 50_000
