"""A plugin costs nobody but itself: what its import or its `minimise` does to a process reaches no other trial."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.plugins import quiet
from torch.nn import functional

from optbench.core.trial import RequestError
from optbench.execution import learned
from optbench.execution.learned import LearnedCatalog
from optbench.execution.options import RunOptions
from optbench.execution.plan import plan
from optbench.execution.runner import run_suite
from optbench.execution.suite import Suite
from optbench.records.schema import Record
from optbench.registry.catalog import Catalog
from optbench.registry.process_state import ProcessState, unchanged_process
from optbench.registry.specs import parse

CLASS = """
import os, random, sys, time, warnings
from dataclasses import dataclass
import numpy as np
import torch
import torch.nn.functional as F

@dataclass(frozen=True)
class Rude:
    needs = "value"
    def minimise(self, f):
        MINIMISE
        while True:
            f.value(f.start(2))
"""
RUDE = {
    "dtype": "torch.set_default_dtype(torch.float64)",
    "threads": "torch.set_num_threads(3)",
    "deterministic": "torch.use_deterministic_algorithms(True)",
    "losses": "was = F.cross_entropy; F.cross_entropy = lambda *a, **k: 10 * was(*a, **k)",
    "adam": "torch.optim.Adam.step = lambda self, closure=None: None",
    "scorer": "import optbench.engine.scorer as s; [setattr(s, n, None) for n in dir(s) if callable(getattr(s, n))]",
    "environment": "os.environ['OMP_NUM_THREADS'] = '7'",
    "folder": "os.chdir('/')",
    "warnings": "warnings.filterwarnings('ignore', 'of nobody')",
    "numpy": "np.seterr(all='raise')",
    "generators": "torch.manual_seed(1); random.seed(1); np.random.seed(1)",
    "gradients": "torch.set_grad_enabled(False)",
}


OTHERS = """
from dataclasses import dataclass
from typing import ClassVar
import torch
from torch import nn
from optbench import Problem, Splits

@dataclass(frozen=True)
class Tuned:
    step: float = 0.1
    needs: ClassVar[str] = "value"
    space: ClassVar = {"step": (0.1, 1.0, "log")}
    def minimise(self, f):
        while True: f.value(f.start(2))

@dataclass(frozen=True)
class Bowl(Problem):
    size: int = 2
    track: ClassVar[str] = "function"
    loss_name: ClassVar[str] = "squares"
    passes: ClassVar[float] = 30
    bound: ClassVar[float] = 0.0
    def network(self): return nn.Linear(self.size, 1, bias=False)
    def data(self): return Splits((torch.zeros(1, 0),))
    def loss(self, net, batch): return net(torch.eye(self.size)).square().sum()
"""


def plugin(folder: Path, on_import: str = "", in_minimise: str = "pass") -> str:
    path = folder / "rude.py"
    path.write_text(CLASS.replace("MINIMISE", in_minimise) + on_import + "\n")
    return str(path)


def told(records: list[Record]) -> list[tuple[Any, ...]]:
    """What no clock decides."""
    points = [[{name: v for name, v in point.items() if name != "seconds"} for point in r.curve] for r in records]
    return [(r.key, r.status, r.error, r.forward, r.backward, curve) for r, curve in zip(records, points, strict=True)]


def state() -> tuple[Any, ...]:
    generators = torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    patched = functional.cross_entropy, torch.optim.Adam.step, [*warnings.filters], np.geterr()
    process = dict(os.environ), os.getcwd(), torch.get_default_dtype(), torch.get_num_threads()
    return *generators, *patched, *process, torch.are_deterministic_algorithms_enabled(), torch.is_grad_enabled()


@pytest.mark.parametrize("name", RUDE)
def test_the_process_of_the_run_is_as_it_was_after_a_plugin_is_imported(name: str, tmp_path) -> None:
    before = state()
    with unchanged_process():
        file = plugin(tmp_path, RUDE[name])
        Catalog([file]).optimizer("rude", {})
    assert state() == before


@pytest.mark.parametrize("name", [name for name in RUDE if name != "generators"])
def test_a_change_of_the_process_is_seen_and_put_back(name: str) -> None:
    before = ProcessState()
    assert not before.changes()
    try:
        exec(RUDE[name], {"torch": torch, "F": functional, "os": os, "warnings": warnings, "np": np})
        assert before.changes()
    finally:
        before.restore()
    assert not before.changes()


@pytest.mark.parametrize("name", RUDE)
def test_the_process_of_the_run_never_imports_a_plugin(name: str, tmp_path) -> None:
    file = plugin(tmp_path, RUDE[name])
    before = state(), {*sys.modules}
    with LearnedCatalog([file]) as catalog:
        built, sources = catalog.optimizer("rude", {}), catalog.sources("mlp_iris", "rude")
    assert (built.needs, built.lanes, sources[2], sources[3]) == ("value", False, (file,), ((), ()))
    assert state() == before[0] and not {one for one in {*sys.modules} - before[1] if one.startswith("optbench_plugin")}
    with unchanged_process():
        assert sources == Catalog([file]).sources("mlp_iris", "rude")  # which imports it


@pytest.mark.parametrize("name", ["exits", "hangs", "interrupts", "asks_to_exit"])
def test_an_import_that_ends_its_process_is_refused_in_one_line(name: str, tmp_path, monkeypatch) -> None:
    ways = {
        "exits": ("os._exit(3)", "ended its process with code 3"),
        "hangs": ("time.sleep(1000)", "within 3 s"),
        "interrupts": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        "asks_to_exit": ("sys.exit(4)", "SystemExit: 4"),
    }
    monkeypatch.setattr(learned, "MAX_SECONDS", 3.0 if name == "hangs" else 60.0)
    with pytest.raises(RequestError) as refused:
        LearnedCatalog([plugin(tmp_path, ways[name][0])])
    assert ways[name][1] in str(refused.value) and "\n" not in str(refused.value)


WRONG_LOSS = """
from torch import nn, zeros
from optbench import Problem, Splits

class Wrong(Problem):
    def network(self):
        return nn.Linear(1, 1)

    def data(self):
        return Splits((zeros(8, 1), zeros(8, 1)), None, None)

    def loss(self, outputs, y):
        return ((outputs - y) ** 2).mean()
"""


def test_an_error_in_a_problem_of_others_names_the_problem(tmp_path) -> None:
    (tmp_path / "wrong.py").write_text(WRONG_LOSS)
    name = f"{tmp_path / 'wrong.py'}:Wrong"
    with pytest.raises(RequestError, match=r"wrong\.py:Wrong: TypeError: unsupported operand"):
        run_suite(Suite("wrong", (name,), ("adam",), seeds=1), tmp_path / "out", RunOptions(), quiet)


def test_names_of_others_mean_in_the_run_what_they_mean_where_they_are_imported(tmp_path) -> None:
    """Facts, spaces and settings come from the child; a name that is wrong is refused with its words."""
    path = tmp_path / "others.py"
    path.write_text(OTHERS)
    real = Catalog([str(path)])
    with LearnedCatalog([str(path)]) as catalog:
        assert catalog.space("tuned") == real.space("tuned") == {"step": (0.1, 1.0, "log")}
        assert catalog.family("tuned") == real.family("tuned") == "plugin"
        assert catalog.optimizers["tuned"] == real.optimizers["tuned"]
        assert catalog.problems["bowl"] == real.problems["bowl"]
        mine, theirs = catalog.problem("bowl[size=3]"), real.problem("bowl[size=3]")
        for name in ("gives", "passes", "vmaps", "batch", "track"):
            assert getattr(mine, name) == getattr(theirs, name), name
        assert catalog.facts("bowl", catalog.problem("bowl"), "cpu")["dim"] == 2
        assert catalog.sources("bowl", "adam") == real.sources("bowl", "adam")
        for wrong in ("tuned[stp=1]", "bowl[sise=2]"):
            texts = []
            for one in (catalog, real):
                (spelled, settings), *_ = parse(wrong)
                with pytest.raises(RequestError) as refused:
                    one.optimizer(spelled, settings) if "tuned" in wrong else one.problem(wrong)
                texts.append(str(refused.value))
            assert texts[0] == texts[1]


def test_combinations_with_parts_of_others_are_planned_and_refused_as_ones_own_are(tmp_path) -> None:
    path = tmp_path / "halves.py"
    path.write_text("import torch\nclass Halves(torch.optim.SGD): pass\n")
    with LearnedCatalog([str(path)]) as catalog:
        for name in ("halves{ndim=2} + adamw", "adamw{place=first} + halves"):
            assert len(plan(Suite("s", ("mlp_iris",), (name,), seeds=2), catalog).tasks) == 2
        with pytest.raises(RequestError, match="is left with no parameter"):
            plan(Suite("s", ("mlp_iris",), ("halves{ndim=9} + adamw",)), catalog)


def test_a_plugin_that_is_not_selected_changes_no_record(tmp_path) -> None:
    suite = Suite("s", ("line_mse", "mlp_iris"), ("adam", "pso"), seeds=2, passes=10, timing=False)
    clean = run_suite(suite, tmp_path / "clean", RunOptions(workers=1, lanes=2), quiet)
    everything = "; ".join(RUDE[name] for name in ("dtype", "deterministic", "adam", "numpy"))
    file = plugin(tmp_path, everything + "\n" + RUDE["losses"])
    options = RunOptions(workers=1, lanes=2, plugins=(file,))
    assert told(run_suite(suite, tmp_path / "not_selected", options, quiet)) == told(clean)
    with_it = Suite("s", suite.problems, ("rude", *suite.optimizers), seeds=2, passes=10, timing=False)
    beside = run_suite(with_it, tmp_path / "selected", options, quiet)
    assert told([record for record in beside if record.optimizer != "rude"]) == told(clean)


def test_what_a_plugin_does_in_a_trial_does_not_reach_its_own_next_seed(tmp_path) -> None:
    body = "assert torch.get_default_dtype() == torch.float32, 'changed'; torch.set_default_dtype(torch.float64)"
    file = plugin(tmp_path, "", body)
    suite = Suite("s", ("sphere_2d",), ("rude",), seeds=3, passes=5, timing=False)
    records = run_suite(suite, tmp_path / "out", RunOptions(workers=1, plugins=(file,)), quiet)
    assert [(record.status, record.error) for record in records] == [("spent", None)] * 3


def test_workers_import_the_plugin_files_of_their_own_trials_alone(tmp_path) -> None:
    mark = tmp_path / "imported"
    code = f"with open({str(mark)!r}, 'a') as marks: marks.write(f'{{os.getpid()}}\\n')"
    file = plugin(tmp_path, code)
    suite = Suite("s", ("sphere_2d",), ("adam",), seeds=2, passes=5, timing=False)
    run_suite(suite, tmp_path / "out", RunOptions(workers=2, lanes=1, plugins=(file,)), quiet)
    (learned_by,) = mark.read_text().split()
    assert learned_by != str(os.getpid()), "the run itself imports nothing, and no worker of adam does"


def test_a_thread_and_a_signal_handler_that_are_left_behind_are_seen() -> None:
    before, over = ProcessState(), threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        assert before.changes() == ["the threads"]
    finally:
        over.set()
        thread.join()
    assert not before.changes()
    kept = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert before.changes() == ["the handling of signals"]
    finally:
        signal.signal(signal.SIGTERM, kept)


@pytest.mark.parametrize("kind", ["generator", "coroutine"])
def test_a_minimise_that_trains_nothing_when_called_is_refused(kind: str, tmp_path) -> None:
    path = tmp_path / "lazy.py"
    code = "class Lazy:\n    needs = 'value'\n    "
    code += "async def minimise(self, f): pass\n" if kind == "coroutine" else "def minimise(self, f): yield\n"
    path.write_text(code)
    with pytest.raises(RequestError, match="generator or coroutine"):
        Catalog([str(path)]).optimizer("lazy", {})
