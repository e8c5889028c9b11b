"""Hostile plugins, written to files of their own: each does one thing that code of a stranger may do."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

NAME = "hostile"  # of every one of them, so that all have the same trials
FOLDER = "OPTBENCH_FAULT_FOLDER"  # environment variable: the results folder, which a plugin could find out as well

SOURCE = '''"""A hostile plugin: {title}."""

import atexit, gc, json, math, os, random, shutil, signal, sys, threading, time, warnings
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch


def honest(f):
    """A random walk that keeps the lowest point."""
    x = f.start()
    lowest = f.value(x[:, None])
    while True:
        y = x + 0.1 * f.randn(f.dim)
        loss = f.value(y[:, None])
        x = torch.where(loss < lowest, y, x)
        lowest = torch.minimum(loss, lowest)


def folder():
    return Path(os.environ["{folder}"])


{at_import}


@dataclass(frozen=True)
class Hostile:
    name: ClassVar[str] = "{name}"
    needs: ClassVar[str] = "value"
    lanes: ClassVar[bool] = {lanes}

    def minimise(self, f):
{body}
'''

SPENT, FAILED = frozenset({"spent"}), frozenset({"failed"})
STOPPED = frozenset({"failed", "killed", "timeout"})
ANY = frozenset({"spent", "finished", "diverged", "failed", "timeout", "killed"})


@dataclass(frozen=True)
class Hostile:
    """One plugin: what it does at its import and in `minimise`, and what its own trials may then be."""

    body: str = "honest(f)"
    at_import: str = ""
    statuses: frozenset[str] = field(default=SPENT)  # that its own records may have
    refusable: bool = False  # True: a run may refuse the plugin with exit code 2 instead
    lanes: bool = False


def source(title: str, plugin: Hostile) -> str:
    """The text of the plugin's file."""
    body = "\n".join(" " * 8 + line for line in plugin.body.splitlines())
    at_import = plugin.at_import.strip()
    return SOURCE.format(title=title, name=NAME, folder=FOLDER, at_import=at_import, body=body, lanes=plugin.lanes)


def write(folder: Path, title: str, plugin: Hostile) -> Path:
    """Write the plugin into a folder; the path of its file."""
    path = folder / f"{title}.py"
    path.write_text(source(title, plugin), encoding="utf-8")
    return path


def _afterwards(change: str) -> Hostile:
    """A plugin that works as it should and leaves its process changed, which its next seed must not see."""
    lines = "\n".join(f"    {line}" for line in change.splitlines())
    return Hostile(f"try:\n    honest(f)\nfinally:\n{lines}")


def _scored_by(change: str) -> Hostile:
    """A plugin whose points, wherever it goes, are scored by what it has changed."""
    walk = "x = f.start()\nwhile True:\n    x = x + 0.1 * f.randn(f.dim)\n    f.value(x[:, None])\n    f.recommend(x)"
    return Hostile(f"{change}\n{walk}", statuses=FAILED)


HONEST = Hostile()
AT_IMPORT: dict[str, Hostile] = {
    name: Hostile(at_import=code, statuses=ANY, refusable=True)
    for name, code in {
        "import_default_type": "torch.set_default_dtype(torch.float64)",
        "import_default_device": "torch.set_default_device('meta')",
        "import_patches_cross_entropy": """
real = torch.nn.functional.cross_entropy
torch.nn.functional.cross_entropy = lambda *a, **k: 10 * real(*a, **k)
""",
        "import_patches_adam": "torch.optim.Adam.step = lambda self, closure=None: closure()",
        "import_patches_objective": """
from optbench.core.objective import Objective
Objective.value = lambda self, x: torch.zeros(x.shape[:2])
""",
        "import_hooks_every_module": "torch.nn.modules.module.register_module_forward_hook(lambda m, i, o: o * 2)",
        "import_seeds_and_draws": """
random.seed(0); np.random.seed(0); torch.manual_seed(0)
torch.randn = lambda *a, **k: torch.zeros(*a, **{key: v for key, v in k.items() if key != 'generator'})
""",
        "import_threads": "torch.set_num_threads(7); os.environ['OMP_NUM_THREADS'] = '7'",
        "import_deterministic": "torch.use_deterministic_algorithms(True); torch.set_flush_denormal(True)",
        "import_warnings_are_errors": "warnings.simplefilter('error'); warnings.simplefilter = print",
        "import_deletes_environment": "os.environ.clear()",
        "import_changes_folder": "os.chdir('/')",
        "import_exits": "os._exit(0)",
        "import_interrupts": "raise KeyboardInterrupt",
        "import_never_ends": "while True: time.sleep(0.01)",
        "import_at_exit": "atexit.register(lambda: 1 / 0)",
        "import_signal_handlers": """
if threading.current_thread() is threading.main_thread():
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
""",
        "import_recursion_limit": "sys.setrecursionlimit(60)",
        "import_huge_output": "print('spam ' * 10_000_000)",
        "import_excepthook": "sys.excepthook = lambda *a: os._exit(0); threading.excepthook = sys.excepthook",
    }.items()
}
AFTERWARDS: dict[str, Hostile] = {
    name: _afterwards(code)
    for name, code in {
        "leaves_default_type": "torch.set_default_dtype(torch.float64)",
        "leaves_folder_and_environment": "os.chdir('/'); os.environ.clear()",
        "leaves_signal_handlers": "signal.signal(signal.SIGTERM, signal.SIG_IGN); gc.disable()",
    }.items()
}
ENDINGS: dict[str, Hostile] = {
    "raises_keyboard_interrupt": Hostile("f.value(f.start(2))\nraise KeyboardInterrupt", statuses=FAILED),
    "raises_system_exit": Hostile("f.value(f.start(2))\nraise SystemExit(0)", statuses=FAILED),
    "raises_stop": Hostile("f.value(f.start(2))\nraise sys.modules[type(f).__module__].Stop", statuses=FAILED),
    "raises_generator_exit": Hostile("raise GeneratorExit", statuses=FAILED),
    "raises_half_a_character": Hostile(r"raise ValueError('\ud800 \x00 \x1b[31m')", statuses=FAILED),
    "raises_without_text": Hostile(
        "class Odd(Exception):\n    def __str__(self): raise RuntimeError('no text')\nraise Odd", statuses=FAILED
    ),
    "raises_100_megabytes": Hostile("raise ValueError('x' * 10**8)", statuses=FAILED),
    "exits_0": Hostile("f.value(f.start(2))\nos._exit(0)", statuses=STOPPED),
    "exits_by_signal_9": Hostile("os.kill(os.getpid(), 9)", statuses=STOPPED),
    "stops_itself": Hostile("os.kill(os.getpid(), signal.SIGSTOP)", statuses=STOPPED),
    "never_calls": Hostile("while True: time.sleep(0.01)", statuses=STOPPED),
    "ignores_stop": Hostile(
        "while True:\n    try: f.value(f.start(2))\n    except BaseException: pass", statuses=STOPPED
    ),
    "ignores_sigterm": Hostile(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(0.01)", statuses=STOPPED
    ),
    "allocates": Hostile("kept = []\nwhile True: kept.append(torch.ones(2**22)); time.sleep(0.001)", statuses=STOPPED),
    "recurses": Hostile("def deep(n): return deep(n + 1) + 1\ndeep(0)", statuses=STOPPED),
    "is_a_generator": Hostile("yield f.value(f.start(2))", statuses=FAILED, refusable=True),
    "loses_nan": Hostile("while True: f.value(f.start(3) * math.nan)", statuses=ANY),
}
REACHES_OUT: dict[str, Hostile] = {
    # Its thread lives on after the warm-up of its own trial, which it may disturb; no other one.
    "leaves_daemon_thread": replace(
        _afterwards(
            "def disturb():\n"
            "    while True: torch.set_default_dtype(torch.float64); torch.manual_seed(3); time.sleep(0.001)\n"
            "threading.Thread(target=disturb, daemon=True).start()"
        ),
        statuses=ANY,
    ),
    "patches_the_loss": _scored_by(
        "problem = next(part for part in vars(f).values() if hasattr(part, 'metrics'))\n"
        "type(problem).loss = lambda self, net, batch: 0 * net(batch[0]).sum()"
    ),
    "zeroes_the_data": _scored_by(
        "for part in vars(f).values():\n    if hasattr(part, 'train'): part.train[0].zero_()"
    ),
    "replaces_the_scorer": _scored_by(
        "import optbench.engine.scorer as s; was = s.Scorer._scores\n"
        "s.Scorer._scores = lambda *a: {key: 0 * value for key, value in was(*a).items()}"
    ),
    "closes_descriptors": Hostile("os.closerange(3, 4096)\nhonest(f)", statuses=ANY),
    "closes_every_descriptor": Hostile("os.closerange(0, 4096)\nhonest(f)", statuses=ANY),
    "prints_much": Hostile("for _ in range(10**6): print('spam')\nhonest(f)"),
    "negative_seconds": Hostile(
        "f._meter._since = 1e12\nhonest(f)",
        statuses=FAILED,
    ),
    "spools_for_other_lanes": Hostile(
        """
f.value(f.start(2))
for path in (folder() / '.spool').glob('*'):
    with path.open('a') as file: file.write('[7, {"passes": 1}]\\n[-1, 3]\\n{}\\n[0, {"loss": "low"}]\\n')
os._exit(7)""",
        statuses=STOPPED,
    ),
    "forges_records": Hostile(
        """
plan = json.loads((folder() / 'environment.json').read_text())['plan']
lines = [json.loads(line) for line in (folder() / 'records.jsonl').read_text().splitlines()]
model = lines[0] if lines else {}
with (folder() / 'records.jsonl').open('a') as file:
    for trial in plan:
        if trial['optimizer'] == 'adam':
            forged = {**model, **{k: trial[k] for k in ('key', 'problem', 'optimizer', 'seed')}, 'forward': 1}
            file.write(json.dumps(forged) + '\\n')
honest(f)"""
    ),
    "writes_garbage": Hostile(
        "with (folder() / 'records.jsonl').open('ab') as file: file.write(b'\\xff{[ garbage\\n')\nhonest(f)"
    ),
    "forks_and_both_go_on": Hostile("os.fork()\nhonest(f)", statuses=ANY),
    "forks_children_that_sleep": Hostile("if os.fork() == 0:\n    time.sleep(600)\n    os._exit(0)\nhonest(f)"),
    "kills_the_fork_server": Hostile("os.kill(os.getppid(), signal.SIGKILL)\nhonest(f)", statuses=ANY),
    "answers_with_a_function": Hostile("f.certificates[0] = {'scope': lambda: 0}\nhonest(f)", statuses=ANY),
    "bends_its_curve": Hostile(
        """
for part in vars(f).values():
    for curve in getattr(part, 'curves', []):
        curve.append({'passes': 'one', 'loss': None, 3: [1]})
honest(f)""",
        statuses=ANY,
    ),
}
PLUGINS: dict[str, Hostile] = {**AT_IMPORT, **AFTERWARDS, **ENDINGS, **REACHES_OUT}
