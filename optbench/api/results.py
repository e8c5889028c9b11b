"""What results folders hold: `load`, `curves`, `export`, and `from_frame` for runs made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from optbench.report.interactive import Comparison


def load(folder: str | Path) -> pd.DataFrame:
    """A row a trial of a result folder: its record, its label, and the last point of its curve (`last_loss`, ...).

    Raises optbench.core.trial.RequestError where the folder holds no results.
    """
    from optbench.records import reader

    return reader.load(folder)


def curves(folder: str | Path) -> pd.DataFrame:
    """A row a curve point of a result folder, with the key, problem, label and seed of its trial.

    Raises optbench.core.trial.RequestError where the folder holds no results.
    """
    from optbench.records import reader

    return reader.curves(folder)


def export(what: str | Path | Comparison, kind: str, out: str | Path) -> None:
    """Write results for another program.

    what: a result folder or what `compare` gave; for benchopt the name of a suite.
    kind: "csv", "parquet", "tensorboard", "mlflow", "wandb", "ioh" or "benchopt". out: a new folder.

    Raises optbench.core.trial.RequestError for an unknown kind, without the extra that it needs, for a folder without
    records, and for an `out` that is there already.
    """
    from optbench.bridges import files

    files.export(what if isinstance(what, str | Path) else what.folder, kind, out)


def from_frame(frame: pd.DataFrame, out: str | Path | None = None) -> Comparison:
    """Runs that were made elsewhere, as a study with the same statistics, figures and page.

    frame: a row a scored point, with the columns `optimizer`, `loss` and `passes`, `steps` or `seconds` (the cost so
        far); also `problem`, `seed`, `valid_loss`, `test_accuracy` and other numbers, `budget`, `best`, `status`.
        `optbench.bridges.tables` says what each is.
    out: a new results folder, which `report` reads too; left out, one that is gone when this process ends.

    Raises optbench.core.trial.RequestError where a column lacks or a row makes no sense, and for an `out` with records.
    """
    from optbench.bridges import tables
    from optbench.report.interactive import Comparison

    folder = Path(out) if out is not None else tables.passing_folder()
    tables.write_curves(frame, folder, "curves from elsewhere")
    return Comparison(folder)
