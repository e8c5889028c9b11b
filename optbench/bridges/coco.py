"""An optimizer through a whole suite of COCO under COCO's own observer: the log files are COCO's, `cocopp` reads them.

Restarts and budget are those of COCO's example experiments: so many evaluations times the dimension on every instance,
restarts until they are spent or the last target, 1e-8, is hit. Several processes are batches, as COCO divides them.
"""

from __future__ import annotations

import csv
import itertools
import json
import math
import multiprocessing
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from optbench.bridges.coco_lanes import ask_ahead, lanes_at_once
from optbench.bridges.coco_trial import OBSERVED, Asked, Ended, run_trial
from optbench.bridges.packages import load
from optbench.core.trial import MachineError, RequestError, spec
from optbench.execution import machine
from optbench.execution.task import unsupported_reason
from optbench.problems.bbob import index_of
from optbench.problems.outside import PRECISIONS
from optbench.registry.catalog import Built, Catalog
from optbench.registry.specs import nearest, parse, values
from optbench.report.analysis.statistics import expected_cost

DIMENSIONS = {"bbob": (2, 3, 5, 10, 20), "bbob-noisy": (2, 3, 5, 10, 20), "bbob-largescale": (20, 40, 80)}
SUITE_DIMENSIONS = {  # that a suite of COCO has, where a function alone may have others
    "bbob": (2, 3, 5, 10, 20, 40),
    "bbob-noisy": (2, 3, 5, 10, 20, 40),
    "bbob-largescale": (20, 40, 80, 160, 320, 640),
}
ERT_FILE, FACTS_FILE = "ert.csv", "optbench.json"
SEED = 1
_ENTRY = re.compile(r"\b\d+:(\d+)\|")


@dataclass(frozen=True)
class Experiment:
    """One optimizer on part of a suite: pure data, which any process can carry. Raises RequestError for what is not.

    Functions, dimensions and instances are text as "1..24" or "2,5,10"; "" is the suite's own choice.
    """

    optimizer: str  # one configuration, "pso[swarm=40]"
    suite: str = "bbob"
    functions: str = ""
    dimensions: str = ""
    instances: str = "1..15"
    budget: float = 1000.0  # evaluations, times the dimension, on every instance
    seed: int = SEED
    gradient: str = "none"  # "forward" or "central" differences, all of them logged and paid for
    plugins: tuple[str, ...] = ()  # plugin files

    def __post_init__(self) -> None:
        load("cocoex", "coco")
        if self.suite not in OBSERVED:
            raise RequestError(
                f"unknown suite {self.suite!r}, {nearest(self.suite, OBSERVED, '')}: {', '.join(OBSERVED)}"
            )
        in_suite = SUITE_DIMENSIONS[self.suite]
        if lacking := [d for d in self.all_dimensions if d not in in_suite]:
            near = min(in_suite, key=lambda d: abs(d - lacking[0]))
            listed = ", ".join(map(str, in_suite))
            raise RequestError(f"{self.suite} has no dimension {lacking[0]}; it has {listed}, the nearest is {near}")
        if not 0 < self.budget < math.inf or self.evaluations(min(self.all_dimensions)) < 1:
            text = "a number above 0 that pays for an evaluation: so many times the dimension"
            raise RequestError(f"--budget {self.budget:g}: {text}")
        catalog = Catalog()
        for f, d, i in itertools.product(self.all_functions, self.all_dimensions, self.all_instances):
            problem = catalog.problem(spec(self.suite, {"f": f, "d": d, "i": i, "gradient": self.gradient}))
        if reason := unsupported_reason(self.built(), problem):
            wants_gradient = self.built().needs == "grad" and self.suite != "bbob-noisy"
            hint = "; write --gradient forward or --gradient central" if wants_gradient else ""
            raise RequestError(f"{self.optimizer} {reason.partition(';')[0]}{hint}")

    @property
    def all_functions(self) -> list[int]:
        """The functions, by number."""
        return _numbers("--functions", self.functions) or list(OBSERVED[self.suite].functions)

    @property
    def all_dimensions(self) -> list[int]:
        """The dimensions."""
        return _numbers("--dimensions", self.dimensions) or list(DIMENSIONS[self.suite])

    @property
    def all_instances(self) -> list[int]:
        """The instances, by number."""
        return _numbers("--instances", self.instances)

    @property
    def folder(self) -> str:
        """What the optimizer's folder is called: its name, letters and digits alone."""
        return re.sub(r"[^\w.=-]+", "_", self.optimizer).strip("_")

    def built(self) -> Built:
        """The optimizer."""
        name, hyper = parse(self.optimizer)[0]
        return Catalog(self.plugins).optimizer(name, hyper)

    def evaluations(self, d: int) -> int:
        """The budget of a trial."""
        return round(self.budget * d)

    def asked_from(self, built: Built, f: int, d: int, i: int) -> dict[tuple[int, int, int], Asked]:
        """{(f, d, instance): what the optimizer asks} of instance i and those after it that are lanes beside it."""
        most = lanes_at_once(built, self.suite, d, self.evaluations(d))
        beside = [other for other in self.all_instances if other >= i][:most]
        if len(beside) == 1:
            return {}
        found = ask_ahead(built, self.suite, f, d, beside, self.seed, self.evaluations(d))
        return {(f, d, other): asked for other, asked in zip(beside, found, strict=True)}

    def functions_of(self, batches: int, batch: int, observer: Any) -> Iterator[Any]:
        """COCO's functions of one batch, each observed, in COCO's order."""
        cocoex = load("cocoex", "coco")
        chosen = ",".join(str(index_of(self.suite, f)) for f in self.all_functions)
        options = f"dimensions: {','.join(map(str, self.all_dimensions))} function_indices: {chosen}"
        scheduler = cocoex.BatchScheduler(batches, batch) if batches > 1 else None
        for function in cocoex.Suite(self.suite, f"instances: {','.join(map(str, self.all_instances))}", options):
            if scheduler is None or scheduler.is_in_batch(function):
                function.observe_with(observer)
                yield function


def experiments(optimizers: Sequence[str], **settings: Any) -> list[Experiment]:
    """An experiment for every configuration that is asked for; settings: those of `Experiment`. Raises RequestError."""
    if not optimizers:
        raise RequestError("coco needs --optimizer NAME; `python -m optbench list optimizers` shows what there is")
    found = [spec(name, hyper) for text in optimizers for name, hyper in parse(text)]
    return [Experiment(one, **settings) for one in dict.fromkeys(found)]


def check_folders(chosen: Sequence[Experiment], out: Path) -> None:
    """Raises RequestError where an observer folder exists already: COCO would write beside it under another name."""
    for one in chosen:
        if (out / one.folder).exists():
            raise RequestError(f"{out / one.folder} exists; remove it, or write --out another folder")


def run(one: Experiment, out: Path, workers: int = 1, say: Callable[[str], None] = print) -> list[Ended]:
    """Run an experiment into `out`/its folder: COCO's log, `ert.csv` (what COCO's pages call ERT, as counted here) and
    `optbench.json`. workers: processes, each a batch with a folder of its own below. Returns how every trial ended.
    Raises RequestError, and MachineError where a process was lost or the log is not whole.
    """
    if workers < 1:
        raise RequestError(f"--workers {workers} must be at least 1")
    check_folders([one], out)
    began = perf_counter()
    folder = (out / one.folder).resolve()
    ended = run_batch(one, folder, 1, 0) if workers == 1 else _in_processes(one, folder, workers)
    seconds = perf_counter() - began
    total = sum(trial.evaluations for trial in ended)
    if (logged := _logged(folder)) != total:  # COCO goes on without a word
        raise MachineError(
            f"COCO's log in {folder} has {logged} of {total} evaluations: it was removed meanwhile, or its disk is "
            "full; remove what is left and run again"
        )
    _write(one, ended, folder, seconds)
    solved = sum(PRECISIONS[-1] in trial.hits for trial in ended)
    say(
        f"{one.optimizer}: {len(ended)} trials, {solved} hit 1e-8, {total} evaluations in {seconds:.1f} s, "
        f"{total / max(seconds, 1e-9):,.0f} a second: {out / one.folder}"
    )
    for error in sorted({f"f{trial.f} in {trial.d}-D: {trial.error}" for trial in ended if trial.error})[:5]:
        say(f"  {one.optimizer} failed on {error}")
    return ended


def _in_processes(one: Experiment, folder: Path, workers: int) -> list[Ended]:
    """All batches, each in a process of its own. Raises MachineError where one is lost, or none can be started."""
    try:
        pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    except OSError as error:  # it takes semaphores, which Linux keeps in /dev/shm
        raise MachineError(f"--workers {workers}: {error.strerror}; --workers 1 needs no other process") from None
    try:
        with pool:
            jobs = [pool.submit(run_batch, one, folder / f"batch{k}of{workers}", workers, k) for k in range(workers)]
            return [trial for job in jobs for trial in job.result()]
    except BrokenExecutor:
        raise MachineError(f"a process was lost: killed, or without memory; remove {folder} and run again") from None


def _logged(folder: Path) -> int:
    """How many evaluations COCO's log has of all trials: an entry a trial, "instance:evaluations|distance"."""
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in folder.rglob("*.info")]
    return sum(int(count) for text in texts for count in _ENTRY.findall(text))


def run_batch(one: Experiment, folder: Path, batches: int, batch: int) -> list[Ended]:
    """One batch of an experiment, in this process, into a folder that is not there yet."""
    cocoex = load("cocoex", "coco")
    level = cocoex.log_level("warning")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        observer = cocoex.Observer(
            "bbob",
            f'algorithm_name: "{one.optimizer}" algorithm_info: "optbench {machine.VERSION}, seed {one.seed}" '
            f'result_folder: "{folder.name}" outer_folder: "{folder.parent.as_posix()}"',
        )
        built = one.built()
        ended: list[Ended] = []
        ahead: dict[tuple[int, int, int], Asked] = {}
        with machine.threads(1):
            for function in one.functions_of(batches, batch, observer):
                f, d, i = function.id_function, function.dimension, function.id_instance
                if (f, d, i) not in ahead:
                    ahead = one.asked_from(built, f, d, i)
                trial = run_trial(
                    function,
                    built,
                    suite=one.suite,
                    seed=one.seed,
                    budget=one.evaluations(d),
                    gradient=one.gradient,
                    asked=ahead.pop((f, d, i), None),
                    restarted=observer.signal_restart,
                )
                ended.append(trial)
                function.free()
        return ended
    finally:
        cocoex.log_level(level)


def ert(ended: Sequence[Ended]) -> list[dict[str, float]]:
    """A row a function, dimension and precision: the expected running time, successes and trials.

    As COCO has it (Hansen et al. 2010): evaluations of all trials until their hit, or their end, over the successes.
    """
    rows: list[dict[str, float]] = []
    cells = sorted({(trial.f, trial.d) for trial in ended})
    for f, d in cells:
        trials = [trial for trial in ended if (trial.f, trial.d) == (f, d)]
        for precision in PRECISIONS:
            costs = [trial.hits.get(precision, float("inf")) for trial in trials]
            hits = sum(precision in trial.hits for trial in trials)
            cost = expected_cost(costs, [trial.evaluations for trial in trials])
            rows.append({"f": f, "d": d, "precision": precision, "ert": cost, "hits": hits, "trials": len(trials)})
    return rows


def _write(one: Experiment, ended: Sequence[Ended], folder: Path, seconds: float) -> None:
    evaluations = sum(trial.evaluations for trial in ended)
    facts = {
        **asdict(one),
        "optbench": machine.VERSION,
        "versions": machine.versions(),
        "trials": len(ended),
        "evaluations": evaluations,
        "restarts": sum(trial.restarts for trial in ended),
        "seconds": round(seconds, 3),
        "failed": sorted({str(trial.error) for trial in ended if trial.error}),
    }
    (folder / FACTS_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    if one.suite == "bbob-noisy":
        return  # COCO's hits are those of the values without noise, which it does not tell
    with (folder / ERT_FILE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ("f", "d", "precision", "ert", "hits", "trials"))
        writer.writeheader()
        writer.writerows(ert(ended))


def _numbers(option: str, text: str) -> list[int]:
    """ "1..3,7" -> [1, 2, 3, 7]. Raises RequestError."""
    found = [value for part in text.split(",") if part.strip() for value in values(part.strip(), option)]
    if not all(type(value) is int for value in found):
        raise RequestError(f"{option} {text!r} is not of the form 1..24 or 2,5,10")
    return sorted(set(found))
