"""Plugins that misbehave cost their own trials: what they do to themselves, and to the process that they run in."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.plugins import HEAD, quiet
from helpers.records import results

from optbench.execution.options import RunOptions
from optbench.execution.runner import run_suite
from optbench.execution.suite import Suite
from optbench.records.files import read_records
from optbench.records.schema import Record

EVIL = {
    "raises": ("raise RuntimeError('no luck')", "failed", "RuntimeError: no luck"),
    "returns_nan": ("\n        while True: f.value(f.start(3) * math.nan)", "spent", None),
    "advises_nan": ("\n        f.value(f.start(3)); f.recommend(f.start() * math.nan)", "diverged", "loss was nan"),
    "never_returns": ("\n        f.value(f.start(3))\n        while True: time.sleep(0.01)", "timeout", "within 4 s"),
    "exits": ("\n        f.value(f.start(3)); os._exit(7)", "killed", "code 7"),
    "asks_to_exit": ("\n        f.value(f.start(3)); sys.exit(3)", "failed", "SystemExit: 3"),
    "kills_itself": ("os.kill(os.getpid(), 9)", "killed", "signal 9"),
    "allocates": (
        "\n        held = []\n        while True: held.append(torch.ones(2**24)); time.sleep(0.001)",
        "killed",
        "more than 1 GiB",
    ),
    "ignores_budget": (
        "\n        while True:\n            try: f.value(f.start(3))\n            except BaseException: pass",
        "killed",
        "ignored the budget",
    ),
    "prints": ("\n        for _ in range(10**6): print('spam')\n        raise ValueError('done')", "failed", "spam"),
    "works": ("\n        while True: f.value(f.start(3))", "spent", None),
}


def write_evil(path: Path) -> Path:
    parts = [
        f"@dataclass(frozen=True)\nclass {''.join(p.capitalize() for p in name.split('_'))}(Base):\n"
        f"    name: ClassVar[str] = {name!r}\n    def minimise(self, f):\n        {body.lstrip()}\n"
        for name, (body, _, _) in EVIL.items()
    ]
    path.write_text(HEAD + "\n".join(parts))
    return path


@pytest.fixture(scope="module")
def evil_records(tmp_path_factory) -> dict[str, list[Record]]:
    folder = tmp_path_factory.mktemp("evil")
    plugin = write_evil(folder / "evil.py")
    suite = Suite("evil", ("sphere",), tuple(EVIL), seeds=2, passes=50, timeout=4, memory=1)
    records = run_suite(suite, folder / "out", RunOptions(workers=2, plugins=(str(plugin),)), quiet)
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.optimizer, []).append(record)
    kept, wrong = read_records(folder / "out")
    assert len(kept) == 2 * len(EVIL) and not wrong and {r.key for r in kept} == {r.key for r in records}
    assert not (folder / "out" / ".spool").exists()
    return found


@pytest.mark.parametrize("name", EVIL)
def test_a_plugin_that_misbehaves_costs_its_own_trials_only(name: str, evil_records) -> None:
    _, status, reason = EVIL[name]
    for record in evil_records[name]:
        assert record.status == status, record.error
        if reason:
            assert reason in record.error and "\n" not in record.error
        else:
            assert record.error is None


def test_what_was_measured_before_the_end_is_kept(evil_records) -> None:
    for name in ("never_returns", "exits", "ignores_budget"):
        for record in evil_records[name]:
            assert record.curve and record.curve[0]["passes"] == 0, name
    assert all(record.nonfinite == 50 for record in evil_records["returns_nan"])


VANDALS = {
    "default_type": "torch.set_default_dtype(torch.float64)",
    "default_device": "torch.set_default_device('meta')",
    "working_directory": "os.chdir('/')",
    "every_module": "torch.nn.modules.module.register_module_forward_hook(lambda m, i, o: o * 2)",
    "someone_elses_class": "torch.optim.Adam.step = lambda self, closure=None: closure()",
    "data": "f._data.train[0].zero_()",
}


def test_a_plugin_that_leaves_its_process_changed_harms_no_other_trial(tmp_path) -> None:
    plugin = tmp_path / "vandals.py"
    parts = [
        f"@dataclass(frozen=True)\nclass {''.join(p.capitalize() for p in name.split('_'))}(Base):\n"
        f"    name: ClassVar[str] = {name!r}\n    def minimise(self, f):\n        {body}\n        f.value(f.start(2))\n"
        for name, body in VANDALS.items()
    ]
    plugin.write_text(HEAD + "\n".join(parts))
    plain = run_suite(
        Suite("s", ("mlp_iris",), ("adam", "pso"), seeds=2, passes=20), tmp_path / "a", RunOptions(workers=1), quiet
    )
    suite = Suite("s", ("mlp_iris",), (*VANDALS, "adam", "pso"), seeds=2, passes=20)
    run_suite(suite, tmp_path / "b", RunOptions(workers=1, plugins=(str(plugin),)), quiet)
    assert {key: results(tmp_path / "b")[key] for key in (r.key for r in plain)} == results(tmp_path / "a")
