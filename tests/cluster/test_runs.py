"""Whole runs on a cluster: the same records as on this machine, plugins and data that travel, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from compare_records import differences

import optbench
from optbench.core.trial import RequestError
from optbench.execution.options import RunOptions
from optbench.execution.runner import run_suite
from optbench.execution.suite import Suite
from optbench.records.files import read_environment
from optbench.records.schema import Record, lines

distributed = pytest.importorskip("distributed", reason="the extra cluster is not installed")
SUITE = Suite("s", ("sphere_2d", "mlp_iris"), ("adam", "pso"), seeds=3, passes=10)
PLUGIN = """
from dataclasses import dataclass
from pathlib import Path
import torch
from optbench import Problem, Splits

class Mine(Problem):
    track, passes, batch = "supervised", 3.0, None
    def network(self): return torch.nn.Linear(1, 1)
    def data(self):
        x = torch.tensor([float(v) for v in Path(__file__).with_name("x.txt").read_text().split()])[:, None]
        return Splits((x, 2 * x))
    def loss(self, net, batch): return ((net(batch[0]) - batch[1]) ** 2).mean()

@dataclass(frozen=True)
class Walk:
    needs = "value"
    step: float = 0.1
    def minimise(self, f):
        x = f.start(1)
        while True:
            f.value(x + self.step * f.randn(*x.shape[1:]))
"""


def told(folder: Path) -> dict[str, dict]:
    """The records as plain data, without the name of the machine."""
    return {one["key"]: one | {"machine": ""} for one in map(json.loads, lines(folder))}


def run(suite: Suite, out: Path, cluster: str | None, said: list[str] | None = None, **options) -> list[Record]:
    say = (said if said is not None else []).append
    return run_suite(suite, out, RunOptions(cluster=cluster, cluster_wait=60, **options), say)


def test_records_are_those_of_this_machine(two_workers: str, tmp_path: Path) -> None:
    said: list[str] = []
    records = run(SUITE, tmp_path / "cluster", two_workers, said, lanes=2)
    run(SUITE, tmp_path / "pool", None, lanes=2)
    there, here = told(tmp_path / "cluster"), told(tmp_path / "pool")
    assert there.keys() == here.keys() and len(there) == 12
    found = [text for key in here for text in differences(here[key], there[key])]
    # Own work and state are counted where a group runs first in a process: two runs of one pool differ in them too.
    assert [text for text in found if "own_flops" not in text and "state_bytes" not in text] == []
    facts = read_environment(tmp_path / "cluster")
    (machine,) = facts["machines"]
    assert {record.machine for record in records} == {machine["name"]}
    assert machine["slot_seconds"] > 0 and machine["versions"]["torch"] and machine["machine"]["cores"]
    assert sum(record.alone for record in records) == 4
    assert any("lane groups at a time" in line for line in said)


def test_a_plugin_its_data_and_its_folder_travel(two_workers: str, tmp_path: Path, monkeypatch) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(PLUGIN)
    (tmp_path / "x.txt").write_text("1 2 3")
    monkeypatch.chdir(tmp_path)
    suite = Suite("s", ("mine", "mine.py:Mine"), ("walk", f"{plugin}:Walk", "sgd"), seeds=1, timing=False)
    said: list[str] = []
    records = run(suite, tmp_path / "out", two_workers, said, plugins=("mine.py",))
    assert [(record.status, record.error) for record in records] == [("spent", None)] * 6
    assert any("2 files travel" in line for line in said)


def test_only_what_has_no_record_runs_again(two_workers: str, tmp_path: Path) -> None:
    few = Suite("s", ("sphere_2d",), ("adam",), seeds=2, passes=10, timing=False)
    run(few, tmp_path / "out", two_workers)
    stored = (tmp_path / "out" / "records.jsonl").read_bytes()
    run(Suite("s", ("sphere_2d",), ("adam",), seeds=3, passes=10, timing=False), tmp_path / "out", None)
    assert (tmp_path / "out" / "records.jsonl").read_bytes().startswith(stored)
    run(few, tmp_path / "out2", two_workers)
    shutil.copytree(tmp_path / "out2", tmp_path / "moved")
    before = (tmp_path / "moved" / "records.jsonl").read_bytes()
    run(few, tmp_path / "moved", two_workers)
    assert (tmp_path / "moved" / "records.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("os._exit(3)", "killed"),
        ("\n        while True: time.sleep(1)", "timeout"),
        ("raise ValueError('no')", "failed"),
    ],
)
def test_hostile_plugins_cost_their_own_trials_alone(body: str, status: str, two_workers: str, tmp_path: Path) -> None:
    plugin = tmp_path / "odd.py"
    head = "import os, time\nfrom dataclasses import dataclass\n\n@dataclass(frozen=True)\n"
    head += "class Odd:\n    needs = 'value'\n"
    plugin.write_text(head + f"    def minimise(self, f):\n        {body}\n")
    suite = Suite("s", ("sphere_2d",), ("odd", "adam"), seeds=1, passes=10, timing=False, timeout=5)
    odd, adam = run(suite, tmp_path / "out", two_workers, plugins=(str(plugin),))
    assert (odd.status, adam.status) == (status, "spent")


def test_what_did_not_happen_is_found_on_a_cluster_too(two_workers: str, tmp_path: Path) -> None:
    plugin = tmp_path / "lies.py"
    plugin.write_text(
        PLUGIN
        + """
@dataclass(frozen=True)
class Lies(Walk):
    def minimise(self, f):
        was = f.finish
        def bent():
            outcome = was()
            for curve in outcome.curves: curve[-1]["loss"] = 1e-9
            return outcome
        f.finish = bent
        super().minimise(f)
"""
    )
    suite = Suite("s", ("mlp_iris",), ("walk", "lies"), seeds=1, passes=5, timing=False)
    honest, lie = run(suite, tmp_path / "out", two_workers, plugins=(str(plugin),))
    assert honest.status == "spent"
    assert lie.status == "failed" and str(lie.error).startswith("not reproduced: ")


def test_objects_of_a_session_travel(two_workers: str, tmp_path: Path) -> None:
    class Slower(torch.optim.SGD):
        def __init__(self, params, lr: float = 0.01) -> None:
            super().__init__(params, lr / 2)

    def network() -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))

    x = torch.linspace(-1, 1, 80).reshape(40, 2)
    mine = optbench.problem(network, "mse", (x, x.sum(1, keepdim=True)), name="mine")
    found = [
        optbench.compare(mine, [Slower, "sgd[lr=0.005]"], seeds=2, passes=5, cluster=cluster, out=tmp_path / str(k))
        for k, cluster in enumerate((two_workers, None))
    ]
    there, here = (told(one.folder) for one in found)
    assert len(there) == 4 and {one["status"] for one in there.values()} == {"spent"}
    assert {key: one["curve"][-1]["loss"] for key, one in there.items()} == {
        key: one["curve"][-1]["loss"] for key, one in here.items()
    }


def test_no_scheduler_is_one_line_after_the_time_that_was_given(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(RequestError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9, waited for 2 s") as error:
        run_suite(SUITE, tmp_path / "out", RunOptions(cluster="127.0.0.1:9", cluster_wait=2), print)
    assert time.monotonic() - began < 20 and "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_no_worker_is_one_line(nodes, tmp_path: Path) -> None:
    nodes.scheduler()
    with pytest.raises(RequestError, match="the scheduler has no worker, waited for 15 s"):
        run_suite(SUITE, tmp_path / "out", RunOptions(cluster=str(nodes.file), cluster_wait=15), print)


def test_a_worker_with_another_version_is_refused_by_name(nodes, tmp_path: Path) -> None:
    (tmp_path / "old" / "torch-0.1.dist-info").mkdir(parents=True)
    (tmp_path / "old" / "torch-0.1.dist-info" / "METADATA").write_text("Name: torch\nVersion: 0.1\n")
    nodes.scheduler()
    nodes.worker(PYTHONPATH=str(tmp_path / "old"))
    with pytest.raises(RequestError, match=r"no worker can be used: .*: torch 0\.1 there, 2\.") as error:
        run_suite(SUITE, tmp_path / "out", RunOptions(cluster=str(nodes.file)), print)
    assert "\n" not in str(error.value)


def test_a_gpu_that_nobody_has_is_one_line(two_workers: str, tmp_path: Path) -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine may have a GPU")
    with pytest.raises(RequestError, match=r"no worker of .* has a GPU"):
        run(SUITE, tmp_path / "out", two_workers, device="cuda")


def test_more_memory_than_any_machine_has_is_one_line(two_workers: str, tmp_path: Path) -> None:
    suite = Suite("s", ("sphere_2d",), ("adam",), memory=1e6, timing=False)
    with pytest.raises(RequestError, match=r"no worker can be used: .*GiB of memory there.*see --memory"):
        run(suite, tmp_path / "out", two_workers)


def test_the_command_line_runs_on_workers_of_its_own(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "optbench", "run", "--problem", "sphere_2d", "--optimizer", "adam"]
    command += ["--seeds", "2", "--passes", "5", "--cluster", "local:2", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert "2 trials in" in done.stdout and (tmp_path / "out" / "report.html").exists()


def test_number_of_workers_is_the_clusters_own() -> None:
    with pytest.raises(RequestError, match="local:N has N"):
        RunOptions(cluster="local:2", workers=3)
