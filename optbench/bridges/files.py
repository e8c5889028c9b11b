"""Which bridge writes or reads a format: behind `optbench.export` and the commands `export` and `import`."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from optbench.core.trial import RequestError

FORMATS = ("csv", "parquet", "tensorboard", "mlflow", "wandb", "ioh", "benchopt")


@dataclass(frozen=True)
class Written:
    """said: what was written, in a few words. next: the command that shows it, where there is one."""

    said: str
    next: str = ""


def export(what: str | Path, kind: str, out: str | Path) -> Written:
    """Write a result folder (for benchopt: a suite) in one of FORMATS.

    Raises RequestError for an unknown format, without the extra that it needs, for a folder without records, and for
    an `out` that is there already.
    """
    folder, out = Path(what), Path(out)
    if kind in ("csv", "parquet"):
        from optbench.bridges import tables

        count = tables.write(folder, out, f".{kind}")
        return Written(f"{count} trials in {out / 'trials'}.{kind}, their curves in {out / 'points'}.{kind}")
    if kind == "tensorboard":
        from optbench.bridges import tensorboard

        return Written(f"{tensorboard.write(folder, out)} runs in {out}", f"tensorboard --logdir {out}")
    if kind == "mlflow":
        from optbench.bridges import mlflow

        count = mlflow.write(folder, out)
        return Written(
            f"{count} runs in {out / mlflow.DATABASE}",
            f"mlflow ui --backend-store-uri sqlite:///{out / mlflow.DATABASE}",
        )
    if kind == "wandb":
        from optbench.bridges import wandb

        return Written(f"{wandb.write(folder, out)} offline runs in {out}", f"wandb sync {out}/wandb/offline-run-*")
    if kind == "ioh":
        from optbench.bridges import iohprofiler

        count, left = iohprofiler.write(folder, out)
        return Written(f"{count} runs in {out}" + (f"; {left} trials that do not apply are left out" if left else ""))
    if kind == "benchopt":
        from optbench.bridges import benchopt
        from optbench.execution.suite import read_suite

        count = benchopt.write(read_suite(str(what)), out)
        return Written(f"{count} solvers in {out}", f"benchopt run {out} --config {out / 'suite.yml'}")
    close = difflib.get_close_matches(kind, FORMATS, 1, 0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(FORMATS)}"
    raise RequestError(f"no format {kind!r}; {hint}")


def bring(what: Path, out: Path) -> tuple[int, str]:
    """Read files of others into a result folder: (the number of runs, what `report` is told beside).

    Raises RequestError for files of no known format, and for an `out` that holds records.
    """
    oracle = " --axis oracle"  # own work is seldom counted elsewhere
    if what.is_dir():
        from optbench.bridges import iohprofiler

        return iohprofiler.read(what, out), oracle
    from optbench.bridges import tables

    if what.suffix not in tables.SUFFIXES or not what.exists():
        raise RequestError(f"{what} is no folder of IOHprofiler's files, and no table ({', '.join(tables.SUFFIXES)})")
    frame = tables.read_file(what)
    if "objective_value" in frame.columns:
        from optbench.bridges import benchopt

        return benchopt.read(what, out), oracle
    return tables.write_curves(frame, out, what.name), ""
