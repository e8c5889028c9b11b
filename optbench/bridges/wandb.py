"""Records as offline runs of Weights & Biases: a group a problem, a run a trial. Nothing is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from optbench.bridges.logged import Logged, logged
from optbench.bridges.packages import load

PROJECT = "optbench"


def write(folder: Path, out: Path) -> int:
    """Write the offline runs of a result folder; how many. `wandb sync OUT/wandb/offline-run-*` sends them.

    Raises RequestError without the extra, for a folder without records, and for an `out` that is there already.
    """
    wandb = load("wandb", "wandb")
    trials = logged(folder, out)
    out.mkdir(parents=True)
    settings = wandb.Settings(
        mode="offline",
        silent=True,
        console="off",
        disable_git=True,
        disable_code=True,
        x_disable_stats=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
    )
    for trial in trials:
        _write(wandb, settings, trial, out)
    wandb.teardown()
    return len(trials)


def _write(wandb: Any, settings: Any, trial: Logged, out: Path) -> None:
    record = trial.record
    run = wandb.init(
        dir=str(out),
        project=PROJECT,
        group=record.problem,
        job_type=record.label,
        name=f"{record.label} seed {record.seed}",
        id=record.key,
        config=trial.settings,
        tags=[record.status],
        notes=record.error or record.note or "",
        settings=settings,
        reinit="create_new",
    )
    run.define_metric("passes")
    run.define_metric("*", step_metric="passes")
    for _, _, numbers in trial.points():
        run.log(numbers)
    run.summary.update({f"total_{name}": value for name, value in trial.totals.items()} | trial.tags)
    run.finish(exit_code=0 if record.status in ("spent", "finished") else 1)
