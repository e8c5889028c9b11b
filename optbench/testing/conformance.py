"""Conformance checks for optimizers and problems, shipped for plugin authors; every built-in passes the same ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch

from optbench.core.trial import RequestError
from optbench.execution.start import start_process
from optbench.registry.catalog import Catalog
from optbench.registry.expressions import is_combination
from optbench.registry.specs import parse
from optbench.testing.hints import describe
from optbench.testing.optimizer_checks import optimizer_checks
from optbench.testing.problem_checks import problem_checks
from optbench.testing.runs import CheckError

TIMEOUT = 180.0  # seconds that all checks of one target may take
_JOIN_SECONDS = 5.0  # that a process may take to be gone
_TOO_LONG = (
    f"the checks took more than {TIMEOUT:g} s; a loop in minimise(f) that asks f nothing never ends, since only calls "
    "of the objective raise Stop"
)


class Finding(NamedTuple):
    """One check: its name, whether it holds, and what was seen and is to be done where it does not."""

    name: str
    ok: bool
    detail: str = ""


def check(target: str, files: Iterable[str] = ()) -> list[Finding]:
    """Check an optimizer or a problem by name, or everything in a plugin file, in a process that can be stopped.

    target: a name, an import path, or a file that ends in .py. files: plugin files that the name may come from. Checks
    that fail for one reason are one finding. Raises RequestError for a target that is no optimizer and no problem.
    """
    given = [*files, target] if target.endswith(".py") else list(files)
    catalog = Catalog(given)
    names = _defined_in(catalog, target) if target.endswith(".py") else [target]
    for name in names:
        checks_of(name, catalog)
    found = {name: _in_a_process(name, tuple(given)) for name in names}
    return [Finding(f"{name}: {f.name}", f.ok, f.detail) for name, findings in found.items() for f in findings]


def checks_of(name: str, catalog: Catalog) -> dict[str, Callable[[], None]]:
    """{check: function that raises CheckError}. Raises RequestError for a name that is neither kind."""
    base, _ = parse(name)[0]
    if base in catalog.problems:
        return problem_checks(name, catalog)
    if base in catalog.optimizers:
        return optimizer_checks(name, catalog)
    if is_combination(base):
        return optimizer_checks(name, catalog)
    if ":" not in base:
        raise RequestError(f"{name!r} is neither an optimizer nor a problem; `python -m optbench list` shows them")
    try:
        catalog.problem(name)
    except RequestError:
        return optimizer_checks(name, catalog)
    return problem_checks(name, catalog)


def _in_a_process(name: str, files: tuple[str, ...]) -> list[Finding]:
    """What the checks of one name find, in a process of its own that is ended when its time is over."""
    mine, theirs = Pipe(duplex=False)
    process = start_process(_tell_all, (theirs, name, files))
    theirs.close()
    try:
        if not mine.poll(TIMEOUT):
            return [Finding("returns", False, _TOO_LONG)]
        return [Finding(*found) for found in json.loads(mine.recv_bytes())]
    except (EOFError, OSError):
        process.join(_JOIN_SECONDS)
        return [Finding("runs", False, f"it ended the process of its checks, with code {process.exitcode}")]
    finally:
        mine.close()
        process.kill()
        process.join(_JOIN_SECONDS)


def _tell_all(connection: Connection, name: str, files: tuple[str, ...]) -> None:
    try:
        findings = _all(name, files)
    except Exception as error:
        findings = [Finding("runs", False, describe(error))]
    connection.send_bytes(json.dumps(findings).encode())


def _defined_in(catalog: Catalog, file: str) -> list[str]:
    start = str(Path(file).resolve())
    tables: list[dict[str, Any]] = [catalog.optimizers, catalog.problems]
    return [name for table in tables for name, entry in table.items() if entry.path.startswith(f"{start}:")]


def _all(name: str, files: tuple[str, ...]) -> list[Finding]:
    torch.set_num_threads(1)
    findings = []
    for title, run in checks_of(name, Catalog(files)).items():
        try:
            run()
            findings.append(Finding(title, True))
        except CheckError as error:
            findings.append(Finding(title, False, str(error)))
        except Exception as error:
            findings.append(Finding(title, False, describe(error)))
    return joined(findings)


def joined(findings: Iterable[Finding]) -> list[Finding]:
    """The findings, those that fail for the same reason as one, where the first of them stands."""
    reasons: dict[str, list[str]] = {}
    found = list(findings)
    for finding in found:
        if not finding.ok:
            reasons.setdefault(_reason(finding), []).append(finding.name)
    kept = []
    for finding in found:
        if finding.ok:
            kept.append(finding)
        elif names := reasons.pop(_reason(finding), []):
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            kept.append(Finding(f"{names[0]}{more}", False, finding.detail))
    return kept


def _reason(finding: Finding) -> str:
    """The detail without what differs from check to check: numbers, the line of code, and who reports it."""
    bare = re.sub(r"^status failed: (the problem: )?| \(\w+\.py:\d+\)", "", finding.detail)
    return re.sub(r"\d[\d.e+-]*", "#", bare)
