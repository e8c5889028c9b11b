"""Faults of processes: signals, limits, the clock, and other commands on the same folder."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Callable, Sequence

import psutil

from optbench.testing.faults.scene import ENDINGS, GOES_ON, TARGETS, Inject, Kind, Scene, sleep_within

SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "int": signal.SIGINT}
MAX_STOP_SECONDS = 2.5  # between SIGSTOP and SIGCONT
CLOCK = "OPTBENCH_FAULT_CLOCK"  # the file that holds by how many seconds the clock is wrong, once it exists
SITE = f"""# Reads the clock wrong from the moment on that a file appears.
import os, time
real, real_ns, file = time.time, time.time_ns, os.environ.get({CLOCK!r}, "")
def shift():
    try:
        with open(file) as text:
            return float(text.read() or 0)
    except (OSError, ValueError):
        return 0.0
time.time = lambda: real() + shift()
time.time_ns = lambda: real_ns() + int(shift() * 10**9)
"""


def _signal(target: str, number: signal.Signals) -> Inject:
    def inject(scene: Scene) -> bool:
        chosen = scene.processes("all") if target == "all" else [one for one in [scene.one_of(target)] if one]
        for process in chosen:
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)
        return bool(chosen)

    return inject


def _stop(target: str) -> Inject:
    def inject(scene: Scene) -> bool:
        process = scene.one_of(target)
        if process is None:
            return False
        seconds = scene.rng.uniform(0.2, MAX_STOP_SECONDS)
        with contextlib.suppress(psutil.Error):
            process.suspend()
            sleep_within(scene, seconds)
            process.resume()
        scene.detail += f" for {seconds:.1f} s"
        return True

    return inject


def _limit(what: int, room: Callable[[Scene, psutil.Process], int]) -> Inject:
    """Lower a limit of one process to little more than it uses now."""

    def inject(scene: Scene) -> bool:
        target = scene.rng.choice(TARGETS)
        process = scene.one_of(target)
        if process is None:
            return False
        try:
            limit = room(scene, process)
            _, hard = resource.prlimit(process.pid, what)
            resource.prlimit(process.pid, what, (limit, hard))
        except (psutil.Error, OSError):
            return False
        scene.detail += f" of the {target}, limit {limit}"
        return True

    return inject


def _descriptors(scene: Scene, process: psutil.Process) -> int:
    highest = max(int(name) for name in os.listdir(f"/proc/{process.pid}/fd"))
    return highest + 1 + scene.rng.randrange(4)


def _memory(scene: Scene, process: psutil.Process) -> int:
    return int(process.memory_info().vms) + scene.rng.randrange(64 * 2**20)


def _file_size(scene: Scene, process: psutil.Process) -> int:
    return scene.rng.randrange(64 * 2**10)


def _prepare_clock(scene: Scene) -> None:
    site = scene.logs / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SITE, encoding="utf-8")
    scene.environment |= {"PYTHONPATH": str(site), CLOCK: str(scene.logs / "clock")}


def _clock(sign: int) -> Inject:
    def inject(scene: Scene) -> bool:
        seconds = sign * scene.rng.choice([5.0, 600.0, 86_400.0, 1e8])
        new = scene.logs / "clock.new"
        new.write_text(str(seconds), encoding="utf-8")
        new.rename(scene.logs / "clock")
        scene.detail += f" by {seconds:g} s"
        return scene.alive

    return inject


def _beside(name: str, arguments: Callable[[Scene], Sequence[str]]) -> Inject:
    """Start another command while the run goes on."""

    def inject(scene: Scene) -> bool:
        if not scene.alive:
            return False
        scene.beside.append((name, scene.launcher.start(arguments(scene), scene.logs)))
        return True

    return inject


def kinds() -> dict[str, Kind]:
    """{name: kind}."""
    found: dict[str, Kind] = {}
    for word, number in SIGNALS.items():
        # A process that dies of the very signal it was sent ends as Unix programs do.
        endings = frozenset({0, 2, 130} if word == "int" else {0, 2, 130, -number})
        for target in (*TARGETS, "all"):
            found[f"{word}_{target}"] = Kind(_signal(target, number), endings=endings)
    for target in TARGETS:
        found[f"stop_{target}"] = Kind(_stop(target), endings=GOES_ON)
    found["descriptors"] = Kind(_limit(resource.RLIMIT_NOFILE, _descriptors), linux=True)
    # Libraries written in C may end their process by a signal where they get no memory.
    endings = ENDINGS | {-signal.SIGSEGV, -signal.SIGABRT}
    found["memory"] = Kind(_limit(resource.RLIMIT_AS, _memory), linux=True, endings=endings)
    found["file_size"] = Kind(_limit(resource.RLIMIT_FSIZE, _file_size), linux=True)
    for word, sign in (("back", -1), ("forward", 1)):
        found[f"clock_{word}"] = Kind(_clock(sign), prepare=_prepare_clock, endings=GOES_ON, cold=True)
    beside = {
        "two_writers": lambda scene: scene.command,
        "report_meanwhile": lambda scene: ["report", str(scene.folder)],
        "merge_meanwhile": lambda scene: ["merge", str(scene.folder), "--out", str(scene.logs / "merged")],
    }
    for name, arguments in beside.items():
        # Of two writers either may be the one that is refused.
        endings = frozenset({0, 2}) if name == "two_writers" else GOES_ON
        found[name] = Kind(_beside(name, arguments), endings=endings)
    return found
