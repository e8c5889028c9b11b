"""Records as runs of MLflow, in a database of one file: an experiment a problem, a run a trial."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optbench.bridges.logged import Logged, logged
from optbench.bridges.packages import load

DATABASE = "mlflow.db"
METRICS_A_CALL = 1000  # that MLflow takes at once
MAX_TAG = 5000  # characters that a tag holds


def write(folder: Path, out: Path) -> int:
    """Write a database with the runs of a result folder; how many.

    `mlflow ui --backend-store-uri sqlite:///OUT/mlflow.db` shows them. Raises RequestError without the extra, for a
    folder without records, and for an `out` that is there already.
    """
    for package in ("mlflow", "sqlalchemy", "alembic"):
        load(package, "mlflow")
    trials = logged(folder, out)
    out.mkdir(parents=True)
    with _quiet():
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=f"sqlite:///{(out / DATABASE).resolve().as_posix()}")
        places: dict[str, str] = {}
        for trial in trials:
            problem = trial.record.problem
            if problem not in places:
                artifacts = (out / "artifacts").resolve().as_uri()
                places[problem] = client.create_experiment(problem, artifact_location=artifacts)
            _write(client, places[problem], trial)
    return len(trials)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the log of its database and without telemetry; its libraries warn of each other."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import logging

    quiet = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    before = [logger.level for logger in quiet]
    for logger in quiet:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(quiet, before, strict=True):
            logger.setLevel(level)


def _write(client: Any, experiment: str, trial: Logged) -> None:
    from mlflow.entities import Metric, Param, RunTag

    began = round(1000 * trial.started)
    name = f"{trial.record.label} seed {trial.record.seed}"
    run = client.create_run(experiment, start_time=began, run_name=name).info.run_id
    metrics = [
        Metric(name, value, round(1000 * clock), step)
        for step, clock, numbers in trial.points()
        for name, value in numbers.items()
    ]
    metrics += [Metric(f"total_{name}", value, began, 0) for name, value in trial.totals.items()]
    params = [Param(name, str(value)) for name, value in trial.settings.items()]
    tags = [RunTag(name, text[:MAX_TAG]) for name, text in trial.tags.items()]
    client.log_batch(run, params=params, tags=tags)
    for at in range(0, len(metrics), METRICS_A_CALL):
        client.log_batch(run, metrics=metrics[at : at + METRICS_A_CALL])
    ended = round(1000 * (trial.started + trial.totals.get("seconds", 0.0)))
    status = "FINISHED" if trial.record.status in ("spent", "finished") else "FAILED"
    client.set_terminated(run, status=status, end_time=ended)
