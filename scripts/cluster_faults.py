"""Faults of a cluster at random moments: a scheduler, four workers and a coordinator, each killed, stopped or cut off.

    python scripts/cluster_faults.py --faults 100

Two network namespaces stand for two hosts, joined by a virtual cable that can be pulled; they need root on Linux.
Without them (`--one-host`) everything runs on this machine and no cable is pulled. Needs the extra `cluster`.

A suite is run undisturbed on this machine's own pool first. Then it is run on the cluster again and again, each time
into a new folder, until so many faults have happened; whatever ends is started again, the coordinator with the same
command. Every folder must hold one record a planned trial, equal to the undisturbed one but for clocks.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from compare_records import differences, records

SUITE = """problems = ["mlp_iris", "sphere_2d", "rastrigin"]
optimizers = ["adam", "sgd", "pso", "openai_es"]
seeds = 20
passes = 60
timing = false
"""
HOSTS = ("optbench-a", "optbench-b")
ADDRESSES = ("10.77.0.1", "10.77.0.2")
PORT = 8786
STOP_SECONDS, CUT_SECONDS = 15.0, 20.0
AGAIN_SECONDS = 1.0  # after which what has ended is started again


class Node:
    """A process that is started again whenever it has ended."""

    def __init__(self, name: str, command: list[str], log: Path) -> None:
        self.name, self._command, self._log = name, command, log
        self.process = self._start()
        self._ended: float | None = None

    def look(self) -> None:
        if self.process.poll() is None:
            return
        self._ended = self._ended or time.monotonic()
        if time.monotonic() - self._ended > AGAIN_SECONDS:
            self.process, self._ended = self._start(), None

    def below(self, part: str) -> list[psutil.Process]:
        """The processes below this one whose command contains a text."""
        with contextlib.suppress(psutil.Error):
            found = psutil.Process(self.process.pid).children(recursive=True)
            return [one for one in found if _says(one, part)]
        return []

    def end(self) -> None:
        with contextlib.suppress(psutil.Error):
            whole = psutil.Process(self.process.pid)
            for one in [*whole.children(recursive=True), whole]:
                with contextlib.suppress(psutil.Error):
                    one.kill()
        self.process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(self._command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})


def _says(one: psutil.Process, part: str) -> bool:
    with contextlib.suppress(psutil.Error):
        return part in " ".join(one.cmdline())
    return False


class Scene:
    """The scheduler, the workers and what can happen to them."""

    def __init__(self, folder: Path, rng: random.Random, namespaces: bool) -> None:
        self.folder, self.rng, self.namespaces = folder, rng, namespaces
        python = [sys.executable, "-m"]
        address = ADDRESSES[0] if namespaces else "127.0.0.1"
        self.scheduler_address = f"tcp://{address}:{PORT}"
        common = ["--no-dashboard"]
        schedule = [*python, "distributed.cli.dask_scheduler", "--host", address, "--port", str(PORT), *common]
        self.scheduler = Node("scheduler", [*self.on(0), *schedule], folder / "scheduler.log")
        self.workers = []
        for number in range(4):
            host = number // 2
            local = ["--local-directory", str(folder / f"w{number}"), "--nthreads", "1", "--death-timeout", "60"]
            at = ["--host", ADDRESSES[host] if namespaces else "127.0.0.1"]
            work = [*python, "distributed.cli.dask_worker", self.scheduler_address, *at, *local, *common]
            self.workers.append(Node(f"worker {number}", [*self.on(host), *work], folder / f"worker{number}.log"))
        self.coordinator: subprocess.Popen[bytes] | None = None
        self._later: list[tuple[float, Callable[[], None]]] = []

    def on(self, host: int) -> list[str]:
        return ["ip", "netns", "exec", HOSTS[host]] if self.namespaces else []

    def look(self) -> None:
        """Start again what has ended, and end what was to last for a while."""
        for node in (self.scheduler, *self.workers):
            node.look()
        now = time.monotonic()
        for due in [due for due in self._later if due[0] <= now]:
            self._later.remove(due)
            due[1]()

    def faults(self) -> dict[str, tuple[float, Callable[[], bool]]]:
        """{name: (how often, what it does: whether it could)}."""
        found: dict[str, tuple[float, Callable[[], bool]]] = {
            "kill -9 of a worker": (3, lambda: self._kill(self.rng.choice(self.workers), "multiprocessing")),
            "kill -9 of a nanny": (1, lambda: self._kill(self.rng.choice(self.workers), "")),
            "kill -9 of a host": (2, lambda: self._kill(self.rng.choice(self.workers), "cluster.host")),
            "kill -9 of a pool process": (3, lambda: self._kill(self.rng.choice(self.workers), "forkserver")),
            "kill -9 of the scheduler": (1, lambda: self._kill(self.scheduler, "")),
            "kill -9 of the coordinator": (2, self._kill_coordinator),
            "SIGSTOP of a worker": (2, lambda: self._stop(self.rng.choice(self.workers))),
        }
        if self.namespaces:
            found["link down"] = (1, self._cut)
        return found

    def close(self) -> None:
        for _, action in self._later:
            action()
        for node in (*self.workers, self.scheduler):
            node.end()

    def _kill(self, node: Node, part: str) -> bool:
        found = node.below(part) if part else []
        if not part and node.process.poll() is None:
            found = [psutil.Process(node.process.pid)]
        if not found:
            return False
        with contextlib.suppress(psutil.Error):
            self.rng.choice(found).kill()
        return True

    def _kill_coordinator(self) -> bool:
        if not self.coordinator or self.coordinator.poll() is not None:
            return False
        self.coordinator.kill()
        return True

    def _stop(self, node: Node) -> bool:
        found = [one for one in node.below("multiprocessing") if not _says(one, "forkserver")]
        if not found:
            return False
        one = self.rng.choice(found)
        with contextlib.suppress(psutil.Error):
            one.send_signal(signal.SIGSTOP)

        def go_on() -> None:
            with contextlib.suppress(psutil.Error):
                one.send_signal(signal.SIGCONT)

        self._later.append((time.monotonic() + STOP_SECONDS, go_on))
        return True

    def _cut(self) -> bool:
        command = ["ip", "-n", HOSTS[1], "link", "set", "optbench1"]
        subprocess.run([*command, "down"], check=True)
        self._later.append(
            (time.monotonic() + CUT_SECONDS, lambda: subprocess.run([*command, "up"], check=True) and None)
        )
        return True


@contextlib.contextmanager
def hosts():
    """Two network namespaces with a virtual cable between them."""
    ip = ["ip"]
    remove = [[*ip, "netns", "del", name] for name in HOSTS]
    for command in remove:
        subprocess.run(command, capture_output=True)
    commands = [[*ip, "netns", "add", name] for name in HOSTS]
    commands.append([*ip, "link", "add", "optbench0", "netns", HOSTS[0], "type", "veth", "peer", "name", "optbench1"])
    commands[-1] += ["netns", HOSTS[1]]
    for number, name in enumerate(HOSTS):
        commands.append([*ip, "-n", name, "addr", "add", f"{ADDRESSES[number]}/24", "dev", f"optbench{number}"])
        commands += [[*ip, "-n", name, "link", "set", device, "up"] for device in (f"optbench{number}", "lo")]
    for command in commands:
        subprocess.run(command, check=True)
    try:
        yield
    finally:
        for command in remove:
            subprocess.run(command, capture_output=True)


def wrong(folder: Path, undisturbed: Path) -> list[str]:
    """What is not as it should be in a folder, a line each."""
    lines = [line for line in (folder / "records.jsonl").read_bytes().splitlines() if line.strip()]
    expected, found = records(undisturbed), records(folder)
    wrongs = [f"{len(lines)} lines for {len(expected)} trials"] if len(lines) != len(expected) else []
    for key, record in expected.items():
        if key not in found:
            wrongs.append(f"no record of {key}")
            continue
        # Own work and state differ between two runs of one pool too, by what a process ran before.
        differ = [text for text in differences(record, found[key]) if text.split(":")[0] != "state_bytes"]
        wrongs += [f"{key}: {text}" for text in differ if "own_flops" not in text]
    return wrongs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=float, default=6.0, help="mean seconds between two faults")
    parser.add_argument("--seconds", type=float, default=3600.0, help="after which no new round begins")
    parser.add_argument("--one-host", action="store_true", help="no network namespaces")
    parser.add_argument("--folder", type=Path, default=Path("results/cluster-faults"))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is ended
    shutil.rmtree(options.folder, ignore_errors=True)
    options.folder.mkdir(parents=True)
    suite = options.folder / "faults.toml"
    suite.write_text(SUITE)
    run = [sys.executable, "-m", "optbench", "run", str(suite), "--lanes", "4", "-q"]
    undisturbed = options.folder / "undisturbed"
    subprocess.run([*run, "--out", str(undisturbed)], check=True, stdout=subprocess.DEVNULL)
    with contextlib.nullcontext() if options.one_host else hosts():
        return disturb(options, run, undisturbed)


def disturb(options: argparse.Namespace, run: list[str], undisturbed: Path) -> int:
    """Rounds until the faults are done; 1 where anything was wrong."""
    rng = random.Random(options.seed)
    scene = Scene(options.folder, rng, not options.one_host)
    counts: collections.Counter[str] = collections.Counter()
    bad, number, until = 0, 0, time.monotonic() + options.seconds
    began, due = time.monotonic(), time.monotonic() + 20.0
    try:
        while counts.total() < options.faults and time.monotonic() < until:
            number += 1
            out = options.folder / f"round{number}"
            command = [*scene.on(0), *run, "--out", str(out), "--cluster", scene.scheduler_address]
            command += ["--cluster-wait", "300"]
            code, starts = None, 0
            while code not in (0, 1):
                starts += 1
                with (options.folder / "coordinator.log").open("ab") as log:
                    scene.coordinator = subprocess.Popen(command, stdout=log, stderr=log)
                while (code := scene.coordinator.poll()) is None:
                    scene.look()
                    if time.monotonic() >= due and counts.total() < options.faults:
                        kinds = scene.faults()
                        (name,) = rng.choices([*kinds], [weight for weight, _ in kinds.values()])
                        if kinds[name][1]():
                            counts[name] += 1
                            print(f"{time.monotonic() - began:7.1f} s  {counts.total():3d}  {name}", flush=True)
                        due = time.monotonic() + rng.expovariate(1 / options.every)
                    time.sleep(0.2)
                if code not in (0, 1, -9):
                    print(f"the coordinator ended with {code}", flush=True)
                if starts > 60:
                    print("the coordinator was started 60 times and has not ended", flush=True)
                    return 1
            found = wrong(out, undisturbed)
            bad += bool(found)
            print(
                f"round {number}: {starts} starts of the coordinator, {len(found)} wrong",
                *found[:5],
                sep="\n  ",
                flush=True,
            )
    finally:
        scene.close()
    print("| fault | times |\n|---|--:|")
    for name, count in counts.most_common():
        print(f"| {name} | {count} |")
    took = time.monotonic() - began
    print(f"{counts.total()} faults in {number} rounds, {took:.0f} s; {bad} rounds with anything wrong")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
