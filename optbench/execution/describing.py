"""The child process that imports code of others so that the coordinator need not, and says what it holds.

It is asked one question a message and answers with one JSON object: what a name stands for, as far as a plan needs it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

import psutil

from optbench.core.trial import RequestError
from optbench.execution import machine
from optbench.execution.environment import WORKER_THREADS, problem_facts
from optbench.execution.offspring import leave
from optbench.execution.plan import passes_per_step
from optbench.execution.width import worthwhile
from optbench.registry.catalog import Catalog
from optbench.registry.specs import one_line

MAX_ANSWER_BYTES = 2**20  # of one answer
MAX_TEXT = 2000  # characters of a refusal
MAX_BYTES = 2**33  # of memory that code of others may take while it is imported and asked


def serve(connection: Connection, files: tuple[str, ...], parent: int) -> None:
    """Import the plugin files and answer until the run that asks is gone. parent: its process id."""
    _be_quiet()
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    catalog: Catalog | None = None
    try:
        catalog = Catalog(files)
        answer: dict[str, Any] = {"entries": _entries(catalog)}
    except BaseException as error:
        answer = _refusal(error)
    while True:
        _send(connection, answer)
        if catalog is None:
            leave(0)
        try:
            asked = json.loads(connection.recv_bytes(MAX_ANSWER_BYTES))
        except (EOFError, OSError):
            leave(0)
        try:
            with machine.threads(WORKER_THREADS):  # as the workers will have, for what is measured
                answer = QUESTIONS[asked.pop("ask")](catalog, **asked)
        except BaseException as error:
            answer = _refusal(error, str(asked.get("text") or asked.get("name") or asked.get("problem")))


def _entries(catalog: Catalog) -> dict[str, Any]:
    """What the plugin files define: {"problems" or "optimizers": {name: [path, track or family, summary]}}."""
    heads = set(catalog.files)

    def own(path: str) -> bool:
        return path.rpartition(":")[0] in heads

    return {
        "problems": {
            name: [one.path, one.track, one.summary] for name, one in catalog.problems.items() if own(one.path)
        },
        "optimizers": {
            name: [one.path, one.family, one.summary] for name, one in catalog.optimizers.items() if own(one.path)
        },
    }


def _problem(catalog: Catalog, text: str) -> dict[str, Any]:
    problem = catalog.problem(text)
    return {
        "track": problem.track,
        "gives": sorted(problem.gives),
        "passes": float(problem.passes),
        "vmaps": bool(problem.vmaps),
        "batch": problem.batch,
    }


def _optimizer(catalog: Catalog, name: str, hyper: Mapping[str, Any]) -> dict[str, Any]:
    built = catalog.optimizer(name, hyper)
    demand = getattr(built.optimizer, "demand", None)
    return {
        "needs": built.needs,
        "lanes": built.lanes,
        "batch": built.batch,
        "precision": built.precision,
        "together": hasattr(built.optimizer, "together"),
        "demand": demand if isinstance(demand, str) else None,
    }


def _ungrouped(catalog: Catalog, problem: str, optimizer: str, hyper: Mapping[str, Any]) -> dict[str, Any]:
    return {"ungrouped": catalog.ungrouped_reason(problem, optimizer, hyper)}


def _kept(catalog: Catalog, name: str) -> dict[str, Any]:
    """What a report and a tuner know of an optimizer."""
    space = {hyper: list(values) for hyper, values in catalog.space(name).items()}
    return {"family": catalog.family(name), "space": space}


def _sources(catalog: Catalog, problem: str, optimizer: str) -> dict[str, Any]:
    return {"sources": catalog.sources(problem, optimizer)}


def _facts(catalog: Catalog, name: str, device: str, split: int = 0) -> dict[str, Any]:
    return {"facts": problem_facts(name, catalog.problem(name, split), catalog, device)}


def _step(catalog: Catalog, name: str, device: str) -> dict[str, Any]:
    return {"passes": passes_per_step(catalog.problem(name), device)}


def _divides(catalog: Catalog, text: str) -> dict[str, Any]:
    return {"divides": catalog.divides(text)}


def _width(
    catalog: Catalog,
    problem: str,
    optimizer: str,
    hyper: Mapping[str, Any],
    passes: float,
    device: str,
    trials: int,
    eager: bool,
) -> dict[str, Any]:
    built = catalog.optimizer(optimizer, hyper)
    return {"width": worthwhile(catalog.problem(problem), built, passes, device, trials, eager)}


QUESTIONS: dict[str, Callable[..., dict[str, Any]]] = {
    "problem": _problem,
    "optimizer": _optimizer,
    "ungrouped": _ungrouped,
    "kept": _kept,
    "sources": _sources,
    "facts": _facts,
    "step": _step,
    "divides": _divides,
    "width": _width,
}


def _refusal(error: BaseException, about: str = "") -> dict[str, Any]:
    """about: the problem or optimizer that was asked about, for an error that does not name it."""
    reason = str(error) if isinstance(error, RequestError) else f"{about}: {one_line(error)}".removeprefix(": ")
    return {"refused": reason[:MAX_TEXT]}


def _send(connection: Connection, answer: Mapping[str, Any]) -> None:
    try:
        content = json.dumps(answer).encode("utf-8", "replace")
    except (TypeError, ValueError) as error:  # settings of its own that are no plain data
        content = json.dumps(_refusal(error)).encode()
    try:
        connection.send_bytes(content)
    except OSError:
        leave(0)


def _be_quiet() -> None:
    """Print nothing, and leave interrupts to the run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    sys.stdin = open(os.devnull)  # noqa: SIM115  # for as long as the process lives


def _watch(parent: int) -> None:
    """End with the run that asks, or once too much memory is taken."""
    process = psutil.Process()
    while psutil.pid_exists(parent) and process.memory_info().rss < MAX_BYTES:
        time.sleep(0.2)
    leave(0)
