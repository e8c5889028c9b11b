"""Result folders with known answers: what `optbench run` would have left, without running anything."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from optbench.core.trial import Trial, spec
from optbench.records.schema import Record

TAUS = (0.5, 0.1, 1e-2, 1e-3)


@dataclass(frozen=True)
class Runner:
    """A made-up optimizer: its gap to the optimum falls by `rate` decades over the budget, give or take `noise`.

    fails: seeds whose trial diverges half-way; refuses: problems where it is inapplicable.
    """

    rate: float = 3.0
    noise: float = 0.2
    family: str = "gradient"
    hyper: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None  # the optimizer's name, where it differs from the key it is listed under
    fails: Sequence[int] = ()
    refuses: Sequence[str] = ()
    certificate: Mapping[str, Any] | None = None
    rates: Mapping[str, float] = field(default_factory=dict)  # by problem, where they differ
    valid: float = 1.1  # validation loss over training loss
    test: float = 1.2  # test loss over training loss
    own: float | None = None  # passes that it computes by itself for each pass of the problem's work


def problem_facts(
    best: float = 0.0, start: float = 2.0, source: str = "optimum", dim: int = 100, validation: bool = False
) -> dict[str, Any]:
    """One entry of environment.json's "problems"; if asked with targets on validation, the same ones."""
    goal = {
        "start": start,
        "best": {"value": best, "source": source},
        "targets": {f"{tau:g}": best + tau * (start - best) for tau in TAUS},
    }
    return {
        "summary": "a synthetic problem",
        "track": "supervised",
        "loss": "mse",
        "dim": dim,
        "train": 200,
        "valid": 50,
        "test": 50,
        "flops_per_pass": 2.0e5,
        "batch": None,
        "passes": 100.0,
        "dtype": "float32",
        **goal,
        **({"validation": goal} if validation else {}),
    }


def make(
    folder: Path,
    runners: Mapping[str, Runner],
    problems: Mapping[str, dict[str, Any]] | Sequence[str] = ("bowl", "valley"),
    seeds: int = 5,
    points: int = 20,
    budget: float = 100.0,
    rng: np.random.Generator | None = None,
    alone: bool = False,
    metrics: bool = True,
    keep: int | None = None,
    environment: bool = True,
    tuned: Mapping[str, Sequence[str]] | None = None,
) -> list[Record]:
    """Write records.jsonl, environment.json and suite.toml. `keep` writes only the first that many records.

    tuned: {name of a tuned optimizer: keys of the runners that are its settings}; the others then are untuned.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    facts = dict(problems) if isinstance(problems, Mapping) else {name: problem_facts() for name in problems}
    records, plan = [], []
    for problem, fact in facts.items():
        for key, runner in runners.items():
            name = runner.name or key
            for seed in range(seeds):
                trial = Trial(problem, name, tuple(sorted(runner.hyper.items())), seed, budget)
                plan.append({**_planned(trial), "key": trial.key})
                records.append(_record(trial, runner, fact, points, rng, alone, metrics))
    records = records[:keep]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "records.jsonl").write_text("".join(record.line() + "\n" for record in records))
    (folder / "suite.toml").write_text('name = "synthetic"\n')
    if environment:
        stated = _environment(facts, runners, plan)
        if tuned is not None:
            stated["tuning"] = _tuning(runners, tuned)
        (folder / "environment.json").write_text(json.dumps(stated))
    return records


def _tuning(runners: Mapping[str, Runner], tuned: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """environment.json's "tuning", as `optbench.execution.tuning.facts` writes it."""
    labels = {key: spec(runner.name or key, runner.hyper) for key, runner in runners.items()}
    found: dict[str, Any] = {
        name: {"optimizer": name, "space": {"lr": [1e-4, 1.0, "log"]}, "labels": [labels[key] for key in keys]}
        for name, keys in tuned.items()
    }
    rest = [key for key in runners if not any(key in keys for keys in tuned.values())]
    why = {labels[key]: {"optimizer": key, "space": {}, "why": "no search space declared"} for key in rest}
    return {"settings": max((len(keys) for keys in tuned.values()), default=0), "competitors": found | why}


def _planned(trial: Trial) -> dict[str, Any]:
    data = asdict(trial)
    data["budget"] = data.pop("passes")
    data["hyper"] = dict(trial.hyper)
    return data


def _record(
    trial: Trial,
    runner: Runner,
    fact: Mapping[str, Any],
    points: int,
    rng: np.random.Generator,
    alone: bool,
    metrics: bool,
) -> Record:
    record = Record(
        trial.key, trial.problem, trial.optimizer, dict(trial.hyper), trial.seed, trial.passes, trial.device, "spent"
    )
    if trial.problem in runner.refuses:
        record.status, record.error = "inapplicable", "needs a step network on one input"
        return record
    failed = trial.seed in runner.fails
    passes = np.concatenate([[0.0], np.geomspace(1.0, trial.passes, points - 1)])
    if failed:
        record.status, record.error = "diverged", "the loss is not finite"
        passes = passes[: points // 2]
    best = fact["best"]["value"]
    rate = runner.rates.get(trial.problem, runner.rate) + runner.noise * rng.standard_normal()
    gap = (fact["start"] - best) * 10.0 ** (-rate * passes / trial.passes)
    loss = best + gap
    if failed:
        loss[-1] = math.nan
    samples = (passes * fact["train"]).astype(int)
    for k, at in enumerate(passes):
        point = {"passes": float(at), "forward": int(samples[k]), "backward": int(samples[k]), "seconds": 0.01 * at}
        point["loss"] = float(loss[k])
        if metrics:
            point |= {"valid_loss": float(runner.valid * loss[k]), "test_loss": float(runner.test * loss[k])}
        if runner.own is not None:
            point["own_flops"] = float(runner.own * at * fact["flops_per_pass"])
        record.curve.append(point)
    record.passes, record.seconds = float(passes[-1]), 0.01 * float(passes[-1])
    record.forward = record.backward = int(samples[-1])
    record.evaluations, record.flops = len(passes) * 10, int(passes[-1] * fact["flops_per_pass"])
    if runner.own is not None:
        record.own_flops = int(runner.own * passes[-1] * fact["flops_per_pass"])
    record.peak_bytes, record.alone = 10_000_000, alone
    record.samples_per_second = 2 * float(samples[-1]) / record.seconds
    record.certificate = dict(runner.certificate) if runner.certificate else None
    return record


def _environment(facts: Mapping[str, Any], runners: Mapping[str, Runner], plan: list[Any]) -> dict[str, Any]:
    return {
        "format": 1,
        "optbench": "0.1.0",
        "command": "python -m optbench run synthetic",
        "started": "2026-01-02T03:04:05Z",
        "suite": "synthetic",
        "machine": {"cpu": "a processor", "cores": 2, "memory_bytes": 8_000_000_000, "gpu": None, "os": "Linux"},
        "versions": {"python": "3.11.7", "torch": "2.13.0", "numpy": "2.4.0"},
        "threads": 1,
        "workers": 2,
        "ceiling_flops_per_second": {"cpu": 4.0e10},
        "plan": plan,
        "problems": dict(facts),
        "optimizers": {
            (runner.name or key): {"summary": "made up", "family": runner.family} for key, runner in runners.items()
        },
    }
