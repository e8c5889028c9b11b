"""One's own data on other splits: divided anew where chance divided them, standardised on the new training rows."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import optbench
from optbench.core.divided import divided, divides
from optbench.own.command import from_files
from optbench.own.problem import OwnProblem
from optbench.registry.plugins import load_file
from optbench.registry.sent import fingerprint

X = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
Y = X.sum(1, keepdim=True)
NET = nn.Linear(3, 1)


def sums(problem: OwnProblem, number: int) -> list[list[float]]:
    """Of each part the targets, in order: what tells which rows are in it."""
    return [sorted(part[-1].flatten().tolist()) for part in divided(problem, number).data() if part is not None]


def test_data_that_chance_divided_are_divided_anew() -> None:
    problem = optbench.problem(NET, "mse", (X, Y))
    assert divides(problem)
    whole = sorted(Y.flatten().tolist())
    found = [sums(problem, number) for number in (0, 1, 2)]
    for parts in found:
        assert [len(part) for part in parts] == [28, 6, 6] and sorted(itertools.chain(*parts)) == whole
    assert found[0] != found[1] != found[2] and found[0] == sums(problem, 0)
    for inputs, target in filter(None, divided(problem, 1).data()):
        assert torch.equal(inputs.sum(1, keepdim=True), target)  # rows stay together


def test_a_given_test_set_stays_and_given_parts_have_one_split() -> None:
    held = X[:5] + 100
    problem = optbench.problem(NET, "mse", (X, Y), test=(held, Y[:5]))
    for number in (1, 2):
        data = divided(problem, number).data()
        assert data.test is not None and torch.equal(data.test[0], held)
        assert data.valid is not None and [len(data.train[0]), len(data.valid[0])] == [34, 6]
    assert sums(problem, 1)[0] != sums(problem, 2)[0]
    assert not divides(optbench.problem(NET, "mse", (X, Y), valid=(X[:5], Y[:5]), test=(X[:5], Y[:5])))
    assert not divides(optbench.problem(NET, "mse", (X, Y), valid=False, test=False))


def test_data_in_files_of_workers_are_divided_like_those_in_memory(tmp_path: Path) -> None:
    problem = optbench.problem(NET, "mse", (X, Y))
    assert sums(problem.store(tmp_path), 2) == sums(problem, 2)


def test_a_table_is_standardised_on_the_training_rows_of_each_split(tmp_path: Path) -> None:
    table = pd.DataFrame(10 * X.numpy() + 3, columns=["a", "b", "c"]).assign(d=1.0, y=Y.numpy()[:, 0])
    table.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "net.py").write_text("from torch import nn\ndef make(inputs): return nn.Linear(inputs, 1)\n")
    path = str(tmp_path / "net.py")
    problem = from_files(f"{path}:make", str(tmp_path / "t.csv"), "y", "mse", None, load_file)
    for number in (0, 1, 2):
        train = divided(problem, number).data().train[0]
        np.testing.assert_allclose(train.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(train.std(0, correction=0), [1, 1, 1, 0], atol=1e-5)
    assert sums(problem, 1)[0] != sums(problem, 0)[0]
    table.assign(split=["train"] * 30 + ["valid"] * 5 + ["test"] * 5).to_csv(tmp_path / "s.csv", index=False)
    assert not divides(from_files(f"{path}:make", str(tmp_path / "s.csv"), "y", "mse", None, load_file))


def test_how_data_were_divided_is_no_part_of_the_fingerprint() -> None:
    """Records of one's own problems stay those of the same problem."""
    problem = optbench.problem(NET, "mse", (X, Y))
    parts = {name: part for name, part in problem.data()._asdict().items() if part is not None}
    given = optbench.problem(NET, "mse", **parts)
    assert problem.shares and not given.shares and fingerprint(problem) == fingerprint(given)


def test_compare_on_splits_runs_every_seed_on_its_own(tmp_path: Path) -> None:
    problem = optbench.problem(NET, "mse", (X, Y + 0.1 * X[:, :1] ** 2), name="mine")
    study = optbench.compare(problem, ["adam", "sgd"], seeds=4, splits=4, passes=5, out=tmp_path, progress=False)
    trials = study.study.trials
    assert sorted(set(zip(trials["seed"], trials["split"], strict=True))) == [(k, k) for k in range(4)]
    assert (trials["status"] == "spent").all() and study.study.splits == {"mine": [0, 1, 2, 3]}
    assert "4 splits of the data of mine" in str(study.verdict)
    with pytest.raises(optbench.core.trial.RequestError, match="of mine on split 1 of its data, not on split 0"):
        optbench.compare(problem, ["adam"], seeds=4, passes=5, out=tmp_path, progress=False)
