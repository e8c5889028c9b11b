"""Verify: a third-party optimizer's points are scored again where its code never was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from helpers.plugins import HEAD, quiet
from torch import nn

from optbench.core.problem import Problem, Splits
from optbench.engine.data import splits
from optbench.execution import verification
from optbench.execution.options import RunOptions
from optbench.execution.runner import run_suite
from optbench.execution.suite import Suite
from optbench.execution.verification import data_digest
from optbench.records.schema import Record
from optbench.registry.catalog import Catalog

WALK = """
        x = f.start()
        lowest = f.value(x[:, None])
        while True:
            y = x + 0.1 * f.randn(f.dim)
            loss = f.value(y[:, None])
            x, lowest = torch.where(loss < lowest, y, x), torch.minimum(loss, lowest)
"""
BEND = """
    def bent(self, outcome, place, name, value):
        for curve in outcome.curves:
            curve[place][name] = value
        return outcome
"""
LATER = "\n        try: self.walk(f)\n        finally: {0}"
BENT = "\n        was = f.finish\n        f.finish = lambda: self.bent(was(), {0})\n        self.walk(f)"
SCORER = "\n        import optbench.engine.scorer as s\n        was = s.Scorer._scores\n"
# What each one does, and what its record says afterwards; all of them are records that say 'spent' where nobody looks.
CHEATS = {
    "zeroes_data": (LATER.format("f._data.train[0].zero_()"), "the data are not what they were"),
    "copies_labels": (LATER.format("f._data.train[1].zero_()"), "the data are not what they were"),
    "edits_its_curve": (BENT.format("-1, 'loss', 1e-6"), "where it is scored again"),
    "edits_an_early_point": (BENT.format("1, 'loss', 1e-6"), "the curve goes down to 1e-06"),
    "replaces_the_scorer": (
        SCORER + "        s.Scorer._scores = lambda *a: {k: v * 0 for k, v in was(*a).items()}\n        self.walk(f)",
        "where it is scored again",
    ),
    "edits_validation": (BENT.format("-1, 'valid_loss', 0.0"), "valid_loss"),
    "adds_a_score": (BENT.format("-1, 'test_bleu', 1.0"), "has no score 'test_bleu'"),
}
HONEST = {
    "walks": "\n        self.walk(f)",
    "returns": "\n        f.value(f.start(3))",
    "recommends": "\n        x = f.start(); f.recommend(x * 0.5)\n        while True: f.value(x[:, None])",
}


def write(path: Path, bodies: dict[str, str]) -> str:
    base = f"class _Walks(Base):\n    def walk(self, f):{WALK}{BEND}\n"
    parts = [
        f"@dataclass(frozen=True)\nclass {name.title().replace('_', '')}(_Walks):\n    name: ClassVar[str] = {name!r}\n"
        f"    def minimise(self, f):{body if body.startswith(chr(10)) else chr(10) + '        ' + body}\n"
        for name, body in bodies.items()
    ]
    path.write_text(HEAD + base + "\n".join(parts))
    return str(path)


def run(folder: Path, bodies: dict[str, str], problem: str = "mlp_iris", **how: int) -> dict[str, list[Record]]:
    file = write(folder / "methods.py", bodies)
    suite = Suite("s", (problem,), tuple(bodies), seeds=how.pop("seeds", 2), passes=20, timing=how.pop("timing", 1))
    records = run_suite(suite, folder / "out", RunOptions(workers=1, plugins=(file,), **how), quiet)
    assert not (folder / "out" / ".spool").exists()
    return {name: [record for record in records if record.optimizer == name] for name in bodies}


def test_what_a_point_does_not_bear_out_is_not_reproduced(tmp_path: Path) -> None:
    found = run(tmp_path, {name: body for name, (body, _) in CHEATS.items()})
    for name, (_, told) in CHEATS.items():
        for record in found[name]:
            assert record.status == "failed" and record.certificate is None, (name, record.status, record.error)
            assert str(record.error).startswith("not reproduced: ") and told in str(record.error), (name, record.error)


@pytest.mark.parametrize("problem", ["mlp_iris", "quadratic_deep", "rosenbrock"])
@pytest.mark.parametrize("lanes", [1, 3])
def test_honest_methods_are_reproduced(problem: str, lanes: int, tmp_path: Path) -> None:
    for name, records in run(tmp_path, HONEST, problem, seeds=3, lanes=lanes).items():
        assert {record.status for record in records} == {"finished" if name == "returns" else "spent"}, (
            name,
            [record.error for record in records],
        )


SHARES = """
        x = f.start()
        while True:
            y = x + 0.1 * f.randn(f.dim)
            lowest = f.value(y[:, None]).argmin()
            x = y[lowest].expand_as(y)
            f.recommend(x)
"""


def test_lanes_that_share_their_best_are_run_again_one_by_one(tmp_path: Path) -> None:
    """Every seed then has the record that it has by itself; lanes of an honest method stay together."""
    found = {}
    for lanes in (1, 3):
        folder = tmp_path / str(lanes)
        folder.mkdir()
        found[lanes] = run(folder, {"shares": SHARES, "walks": HONEST["walks"]}, seeds=3, lanes=lanes, timing=False)
    for one, other in zip(found[1]["shares"], found[3]["shares"], strict=True):
        assert other.status == "spent" and other.lanes == 1
        assert [point["loss"] for point in one.curve] == [point["loss"] for point in other.curve]
    assert {record.lanes for record in found[3]["walks"]} == {3}


NORMALISED = '''
"""A small network with batch normalisation."""
from dataclasses import dataclass
from typing import ClassVar
import torch
from torch import nn
from optbench import Problem, Splits

@dataclass(frozen=True)
class Normalised(Problem):
    name: ClassVar[str] = "normalised"
    track: ClassVar[str] = "supervised"
    loss_name: ClassVar[str] = "mse"
    passes: ClassVar[float] = 20
    bound: ClassVar[float] = 0.0
    vmaps: ClassVar[bool] = False
    def network(self):
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1))
    def data(self):
        x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
        return Splits((x, x.sum(1, keepdim=True)))
    def loss(self, net, batch):
        return (net(batch[0]) - batch[1]).square().mean()
'''


def test_a_network_with_a_state_and_a_problem_of_another_file_are_scored_again_too(tmp_path: Path) -> None:
    problem = tmp_path / "normalised.py"
    problem.write_text(NORMALISED)
    bodies = {"walks": HONEST["walks"], "edits_its_curve": CHEATS["edits_its_curve"][0]}
    file = write(tmp_path / "methods.py", bodies)
    suite = Suite("s", ("normalised",), tuple(bodies), seeds=2, passes=20, timing=False)
    options = RunOptions(workers=2, plugins=(file, str(problem)))
    statuses = {(one.optimizer, one.status) for one in run_suite(suite, tmp_path / "out", options, quiet)}
    assert statuses == {("walks", "spent"), ("edits_its_curve", "failed")}


def test_who_is_scored_again_and_by_whom(tmp_path: Path) -> None:
    (tmp_path / "normalised.py").write_text(NORMALISED)
    both = tmp_path / "both.py"
    both.write_text(NORMALISED.replace("Normalised", "Mine").replace("normalised", "mine"))
    with both.open("a") as file:
        file.write("class Own:\n    needs = 'value'\n    def minimise(self, f): pass\n")
    method = write(tmp_path / "methods.py", HONEST)
    catalog = Catalog([method, str(tmp_path / "normalised.py"), str(both)])
    assert catalog.scorer("mlp_iris", "adam") is None and catalog.scorer("normalised", "adam") is None
    assert catalog.scorer("mlp_iris", "walks") == ((), ())
    classes, files = catalog.scorer("normalised", "walks") or ((), ())
    assert len(classes) == 1 and [Path(file).name for file in files] == ["normalised.py"]
    assert catalog.scorer("mine", "own") is None, "who writes both decides what is true"


def test_the_digest_sees_every_change_of_the_data() -> None:
    class Data(Problem):
        def data(self) -> Splits:
            return Splits((torch.zeros(4, 2), torch.zeros(4)), (torch.zeros(2, 2), torch.zeros(2)))

        def network(self) -> nn.Module:
            return nn.Linear(2, 1)

    problem = Data()
    before = data_digest(problem, "cpu")
    assert data_digest(problem, "cpu") == before
    for part in splits(problem, "cpu"):
        for tensor in part or ():
            tensor.view(-1)[-1] += 1
            assert data_digest(problem, "cpu") != before
            tensor.view(-1)[-1] -= 1
    assert data_digest(problem, "cpu") == before


def test_a_point_of_the_wrong_size_is_no_answer(tmp_path: Path) -> None:
    from optbench.core.trial import Trial
    from optbench.execution.task import LaneGroup, resolve

    catalog, trial = Catalog(), Trial("mlp_iris", "pso", (), 0, 20.0)
    record = resolve([trial], catalog)[0].record("spent")
    record.curve = [{"passes": 0.0, "loss": 0.1}]
    answer = tmp_path / "points"
    answer.write_bytes(b"\0" * 12)
    digest = data_digest(catalog.problem("mlp_iris"), "cpu")
    check = verification.Check(LaneGroup((trial,)), (record.line(),), (digest, digest), str(answer), 0.0)
    (found,) = verification.verified(check, catalog)
    assert found.status == "failed" and "12 bytes" in str(found.error)
    assert json.loads(found.line())["error"] == found.error
