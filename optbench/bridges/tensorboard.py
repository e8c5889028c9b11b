"""Records as TensorBoard event files: one a trial, below a folder a problem and one an optimizer."""

from __future__ import annotations

from pathlib import Path

from optbench.bridges.logged import Logged, logged, plain
from optbench.bridges.packages import load


def write(folder: Path, out: Path) -> int:
    """Write the event files of a result folder; how many. `tensorboard --logdir OUT` shows them.

    Raises RequestError without the extra, for a folder without records, and for an `out` that is there already.
    """
    load("tensorboard", "tensorboard")
    trials = logged(folder, out)
    for trial in trials:
        _write(trial, out / plain(trial.record.problem) / plain(trial.record.label) / f"seed_{trial.record.seed}")
    return len(trials)


def _write(trial: Logged, place: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    last: dict[str, float] = {}
    with SummaryWriter(str(place / trial.record.key)) as writer:  # the key: budgets and devices may differ
        for step, clock, numbers in trial.points():
            for name, value in numbers.items():
                writer.add_scalar(name, value, step, walltime=clock)
            last = numbers
        settings = {name: value if isinstance(value, bool | int | float) else str(value) for name, value in _all(trial)}
        writer_of_events = writer._get_file_writer()
        for event in hparams(settings, {name: value for name, value in last.items() if name.endswith("loss")}):
            writer_of_events.add_summary(event)


def _all(trial: Logged) -> list[tuple[str, object]]:
    return [*trial.settings.items(), *trial.tags.items()]
