"""The coordinator's catalog: code of others is imported by child processes, which say what its names stand for.

optbench's and torch's own names are resolved here. The others are asked of a child, one for each set of plugin files
that a name draws on, and what comes back is validated. So a plugin's import changes nothing of the coordinator, and one
that ends its process or never returns is refused in one line.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

import psutil
import torch

from optbench.core.problem import ORACLES, PRECISIONS, TRACKS, Problem
from optbench.core.trial import RequestError, spec
from optbench.execution import describing
from optbench.execution.environment import problem_facts
from optbench.execution.offspring import kill
from optbench.execution.plan import passes_per_step
from optbench.execution.start import start_process
from optbench.execution.task import Task
from optbench.execution.width import worthwhile
from optbench.optimizers import Entry, Space
from optbench.problems import Entry as ProblemEntry
from optbench.records.schema import clean
from optbench.registry.catalog import OWN_PACKAGES, Built, Catalog, Kind
from optbench.registry.expressions import is_combination, read
from optbench.registry.specs import parse

MAX_SECONDS = 60.0  # that an answer may take: an import, or widths that are measured
MAX_DEMAND = 100  # characters
_JOIN_SECONDS = 5.0


class StatedProblem(Problem):
    """A problem of somebody else's as far as a plan needs it; the problem itself is in another process."""

    track = ""
    vmaps = False
    dtype = torch.float32  # as far as a plan needs to know: who runs it looks
    text = ""  # its spec

    def __init__(self, text: str, said: Mapping[str, Any]) -> None:
        """said: what a child says of it. Raises RequestError for what cannot be."""
        gives, passes, batch = said.get("gives"), said.get("passes"), said.get("batch")
        if not isinstance(gives, list) or not set(gives) <= set(ORACLES) or said.get("track") not in TRACKS:
            raise RequestError(f"{text}: its track or the oracles that it gives are none that there are")
        if not isinstance(passes, float) or not (batch is None or type(batch) is int):
            raise RequestError(f"{text}: passes and batch must be numbers")
        stated = {"gives": frozenset(gives), "passes": passes, "batch": batch, "vmaps": said.get("vmaps") is True}
        for name, value in {**stated, "track": said["track"], "text": text}.items():
            setattr(self, name, value)


class StatedOptimizer:
    """Stands for an optimizer that is in another process, and trains nothing."""

    def __init__(self, needs: str, demand: str | None = None) -> None:
        """demand: what it asks of its problem beside losses and gradients, as a phrase."""
        self.needs, self.demand = needs, demand

    def minimise(self, f: object) -> NoReturn:
        raise RuntimeError("the optimizer itself is in another process")


class StatedTogether(StatedOptimizer):
    """One whose lanes may have settings of their own."""

    def together(self, others: object) -> NoReturn:
        self.minimise(others)


class LearnedCatalog(Catalog):
    """A catalog that imports nobody else's code. `close` ends its child processes; use it as a context.

    It has more than ten public methods: whatever a plan asks of a catalog is asked of a child here.
    Raises RequestError for a plugin file that does not import, ends its process or takes longer than MAX_SECONDS.
    """

    def __init__(self, files: Iterable[str] = ()) -> None:
        super().__init__()
        self._children: dict[tuple[str, ...], _Child] = {}
        self.files = tuple(dict.fromkeys(str(Path(file).resolve()) for file in files))
        try:
            for file in self.files:
                self._enter_all(file, self._child((file,)).entries)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> LearnedCatalog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child processes."""
        for child in self._children.values():
            child.close()
        self._children.clear()

    def divides(self, text: str) -> bool:
        name = parse(text)[0][0]
        if self._is_own(self._problem_path(name)):
            return super().divides(text)
        return self._asked((name,), (), ask="divides", text=text).get("divides") is True

    def problem(self, text: str, split: int = 0) -> Problem:
        (name, settings), *more = parse(text)
        if more or self._is_own(self._problem_path(name)):
            return super().problem(text, split)
        wanted = spec(name, settings)
        return StatedProblem(text, self._asked((name,), (), ask="problem", text=wanted))

    def optimizer(self, name: str, hyper: Mapping[str, Any]) -> Built:
        if self._is_own(*self._optimizer_paths(name)):
            return super().optimizer(name, hyper)
        said = self._asked((), (name,), ask="optimizer", name=name, hyper=dict(hyper))
        needs, batch, precision = said.get("needs"), said.get("batch"), said.get("precision")
        if needs not in ORACLES or not (batch in (None, "full") or (type(batch) is int and batch > 0)):
            raise RequestError(f"{spec(name, hyper)}: what it says of its oracle or minibatch makes no sense")
        if precision not in PRECISIONS:
            raise RequestError(f"{spec(name, hyper)}: what it says of its precision makes no sense")
        kind = StatedTogether if said.get("together") is True else StatedOptimizer
        demand = clean(str(said["demand"]))[:MAX_DEMAND] if said.get("demand") else None
        lanes = said.get("lanes") is True
        return Built(kind(needs, demand), needs, lanes, batch, precision)  # type: ignore[arg-type]

    def ungrouped_reason(self, problem: str, optimizer: str, hyper: Mapping[str, Any]) -> str | None:
        name = parse(problem)[0][0]
        if self._is_own(self._problem_path(name), *self._optimizer_paths(optimizer)):
            return super().ungrouped_reason(problem, optimizer, hyper)
        asked = {"ask": "ungrouped", "problem": problem, "optimizer": optimizer, "hyper": dict(hyper)}
        reason = self._asked((name,), (optimizer,), **asked).get("ungrouped")
        return clean(str(reason))[: describing.MAX_TEXT] if reason else None

    def space(self, name: str) -> Space:
        if self._is_own(*self._optimizer_paths(name)):
            return super().space(name)
        space = self._asked((), (name,), ask="kept", name=name).get("space")
        found = space.items() if isinstance(space, dict) else ()
        return {str(hyper): tuple(values) for hyper, values in found if isinstance(values, list)}

    def family(self, name: str) -> str:
        if self._is_own(*self._optimizer_paths(name)):
            return super().family(name)
        return clean(str(self._asked((), (name,), ask="kept", name=name).get("family")))

    def sources(self, problem: str, optimizer: str) -> tuple[str, tuple[str, ...], tuple[str, ...], Kind | None]:
        name = parse(problem)[0][0]
        if self._is_own(self._problem_path(name), *self._optimizer_paths(optimizer)):
            return super().sources(problem, optimizer)
        said = self._asked((name,), (optimizer,), ask="sources", problem=problem, optimizer=optimizer).get("sources")
        try:
            if not isinstance(said, list):
                raise ValueError
            fingerprint, classes, files, scorer = said
            known = [file for file in (*files, *(scorer[1] if scorer else ())) if file in self.files]
            if not isinstance(fingerprint, str) or len(known) != len(files) + len(scorer[1] if scorer else ()):
                raise ValueError
            kind = (tuple(map(str, scorer[0])), tuple(scorer[1])) if scorer else None
            return clean(fingerprint)[:12], tuple(map(str, classes)), tuple(files), kind
        except (TypeError, ValueError):
            raise RequestError(f"{problem} x {optimizer}: what it says of its sources makes no sense") from None

    def facts(self, name: str, problem: Problem, device: str, split: int = 0) -> dict[str, Any]:
        """A problem as a report needs it, on one split of its data. Raises RequestError."""
        plain = parse(name)[0][0]
        if not isinstance(problem, StatedProblem):
            return problem_facts(name, problem, self, device)
        facts = self._asked((plain,), (), ask="facts", name=name, device=device, split=split).get("facts")
        if not isinstance(facts, dict):
            raise RequestError(f"problem {name}: what it says of itself makes no sense")
        return facts

    def passes_per_step(self, problem: Problem, device: str) -> float:
        """Passes that a step on a problem's own minibatch costs. Raises RequestError for what cannot be."""
        if not isinstance(problem, StatedProblem):
            return passes_per_step(problem, device)
        name = parse(problem.text)[0][0]
        said = self._asked((name,), (), ask="step", name=problem.text, device=device).get("passes")
        if type(said) is not float or not 0 < said < math.inf:
            raise RequestError(f"problem {problem.text}: what it says of a step makes no sense")
        return said

    def widths(self, asks: Sequence[tuple[Task, int]], eager: bool) -> list[int]:
        """How many lanes pay for each (task, how many trials share its traced step)."""
        return [self._width(task, trials, eager) for task, trials in asks]

    def _width(self, task: Task, trials: int, eager: bool) -> int:
        trial = task.trial
        if not isinstance(task.problem, StatedProblem) and not isinstance(task.built.optimizer, StatedOptimizer):
            return worthwhile(task.problem, task.built, trial.passes, trial.device, trials, eager)
        said = self._asked(
            (parse(trial.problem)[0][0],),
            (trial.optimizer,),
            ask="width",
            problem=trial.problem,
            optimizer=trial.optimizer,
            hyper=dict(trial.hyper),
            passes=trial.passes,
            device=trial.device,
            trials=trials,
            eager=eager,
        ).get("width")
        return said if type(said) is int and 1 <= said <= trials * 2**12 else 1

    def is_own(self, optimizer: str) -> bool:
        """Whether an optimizer is optbench's or torch's."""
        return self._is_own(*self._optimizer_paths(optimizer))

    def _problem_path(self, name: str) -> str:
        entry = self.problems.get(name)
        return entry.path if entry else name

    def _optimizer_paths(self, name: str) -> list[str]:
        entry = self.optimizers.get(name)
        path = entry.path if entry else name
        if not is_combination(path):
            return [path]
        heads = [head for one in read(path) for head in one.heads()]
        return [self.optimizers[head].path if head in self.optimizers else head for head in heads]

    @staticmethod
    def _is_own(*paths: str) -> bool:
        """Whether all of it is optbench's or torch's, or nothing that could be imported."""
        return all(":" not in path or path.split(".")[0].partition(":")[0] in OWN_PACKAGES for path in paths)

    def _asked(self, problems: Iterable[str], optimizers: Iterable[str], **question: Any) -> dict[str, Any]:
        paths = [*map(self._problem_path, problems)]
        for name in optimizers:
            paths += self._optimizer_paths(name)
        heads = {path.rpartition(":")[0] for path in paths}
        return self._child(tuple(file for file in self.files if file in heads)).ask(question)

    def _child(self, files: tuple[str, ...]) -> _Child:
        if files not in self._children:
            self._children[files] = _Child(files)
        return self._children[files]

    def _enter_all(self, file: str, entries: Mapping[str, Any]) -> None:
        """Put what a plugin file defines into the tables. Raises RequestError for a name that is taken."""
        for kind, table in (("problems", self.problems), ("optimizers", self.optimizers)):
            found = entries.get(kind)
            for name, about in (found if isinstance(found, dict) else {}).items():
                path, sort, summary = (clean(str(text)) for text in about)
                if path.rpartition(":")[0] != file:
                    raise RequestError(f"plugin {file}: says that it defines {path}")
                if name in table:
                    text = f"{path}: the name {name!r} is that of {table[name].path}; give the class another `name`"
                    raise RequestError(text)
                if kind == "problems":
                    self.problems[name] = ProblemEntry(path, {}, sort, summary)
                else:
                    self.optimizers[name] = Entry(path, sort, summary)


class _Child:
    """A process that has imported some plugin files, and answers questions about them."""

    def __init__(self, files: tuple[str, ...]) -> None:
        self._what = f"plugin {', '.join(files)}" if files else "a third-party package"
        self._connection: Connection
        self._connection, theirs = Pipe()
        try:
            self._process = start_process(describing.serve, (theirs, files, os.getpid()))
        except (OSError, RuntimeError, EOFError) as error:
            self._connection.close()
            raise RequestError(f"no process can be started to read {self._what}: {error}") from None
        finally:
            theirs.close()

    @cached_property
    def entries(self) -> dict[str, Any]:
        """What the files define. Raises RequestError."""
        found = self._answer().get("entries")
        return found if isinstance(found, dict) else {}

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a question. Raises RequestError for a refusal, a process that ended and one that is silent."""
        _ = self.entries
        try:
            self._connection.send_bytes(json.dumps(question).encode())
        except OSError:
            self._lost()
        return self._answer()

    def close(self) -> None:
        with contextlib.suppress(psutil.Error):
            kill(psutil.Process(self._process.pid))
        self._connection.close()  # not before: a process that hears it ends by itself
        self._process.join(_JOIN_SECONDS)

    def _answer(self) -> dict[str, Any]:
        try:
            heard = self._connection.poll(MAX_SECONDS)
        except (EOFError, OSError):
            self._lost()
        if not heard:
            raise RequestError(f"{self._what} did not import or answer within {MAX_SECONDS:g} s")
        try:
            said = json.loads(self._connection.recv_bytes(describing.MAX_ANSWER_BYTES))
        except (EOFError, OSError):
            self._lost()
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise RequestError(f"{self._what}: what its process answered is no answer")
        if "refused" in said:
            raise RequestError(clean(str(said["refused"]))[: describing.MAX_TEXT])
        return said

    def _lost(self) -> NoReturn:
        self._process.join(_JOIN_SECONDS)
        code = self._process.exitcode
        how = "ended its process" if code is None else f"ended its process with code {code}"
        raise RequestError(f"{self._what} {how} while it was imported or asked")
