"""Records as two tables, and tables of curves from elsewhere as records: CSV and Parquet.

A frame of curves has a row a scored point. Its columns:

    problem          what runs are compared on; one problem where it is left out
    optimizer        what is compared, with settings as in "adam[lr=0.01]"; `label` counts before it
    seed             of the run; 0 where it is left out
    passes           the cost so far; or `steps`, or `seconds`, which then is the axis of the report
    loss             of the training data, lower is better; not finite where the run diverged
    valid_loss, test_accuracy, ...   any numbers more, each named by the data that it was measured on
    seconds, forward, backward       where they were measured
    budget           the cost that was planned; the largest of the problem where it is left out
    best             the lowest loss there is, where it is known; else the lowest seen in the study stands in
    status, device   as a record has them; told by the curve where they are left out

A run that failed before its first point is one row with its `status` and without cost and loss.
"""

from __future__ import annotations

import atexit
import difflib
import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from optbench.bridges.foreign import Run, write_results
from optbench.core.trial import STATUSES, RequestError
from optbench.records.reader import MISSING, curves, load
from optbench.report.export import as_text, flat_trials

COSTS = ("passes", "steps", "seconds")
WHO = ("problem", "optimizer", "seed")
WHO_OF_POINTS = ("key", "problem", "optimizer", "label", "seed", "status", "alone")
LEFT_OUT = ("key", "alone", "trial", "own_flops")  # that our own tables have beside
WITHOUT_POINTS = ("failed", "timeout", "killed", "diverged", "inapplicable")  # how a run may end before its first
SUFFIXES = (".csv", ".tsv", ".parquet")


def write(folder: Path, out: Path, suffix: str) -> int:
    """trials and points of a result folder as files of this suffix, ".csv" or ".parquet"; the number of trials.

    `points` is a frame of curves as `read` takes it. Raises RequestError for a folder that holds no results, and for
    an `out` that is there already.
    """
    if out.exists():
        raise RequestError(f"{out} exists; remove it, or write --out another folder")
    trials, points = load(folder), curves(folder)
    without = trials[~trials["key"].isin(points["key"]) & (trials["status"] != MISSING)]
    if len(without):
        points = pd.concat([points, without[[name for name in points.columns if name in WHO_OF_POINTS]]])
    if suffix == ".parquet" and find_spec("pyarrow") is None:
        raise RequestError("Parquet files need pyarrow: python -m pip install 'optbench[parquet]'")
    out.mkdir(parents=True)
    for name, table in (("trials", flat_trials(trials)), ("points", points)):
        if suffix == ".csv":
            as_text(table).to_csv(out / f"{name}.csv", index=False, lineterminator="\n")
        else:
            table.to_parquet(out / f"{name}.parquet", index=False)
    return len(trials)


def read_file(path: Path) -> pd.DataFrame:
    """A frame from a .csv, .tsv or .parquet file. Raises RequestError for any other."""
    if path.suffix not in SUFFIXES:
        raise RequestError(f"{path}: {path.suffix or 'no suffix'} is none of {', '.join(SUFFIXES)}")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",")
    except ImportError:
        raise RequestError("Parquet files need pyarrow: python -m pip install 'optbench[parquet]'") from None
    except (ValueError, OSError) as error:
        raise RequestError(f"{path} is no table: {' '.join(str(error).split())[:200]}") from None


def passing_folder() -> Path:
    """A new folder that is removed when this process ends."""
    folder = tempfile.mkdtemp(prefix="optbench-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def write_curves(frame: pd.DataFrame, out: Path, source: str) -> int:
    """A result folder of the runs in a frame of curves; how many.

    Raises RequestError for a frame that lacks what is needed, or says it twice, and for an `out` that holds records.
    """
    table, cost = _checked(frame)
    table["budget"] = table["budget"].fillna(table.groupby("problem")[cost].transform("max"))
    runs = [_run(rows, cost) for _, rows in table.groupby(["problem", "optimizer", "seed"], sort=False)]
    budget = {"unit": cost, "amount": float(table["budget"].max())} if cost != "passes" else None
    write_results(runs, out, source, budget=budget)
    return len(runs)


def _checked(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """A copy with all columns of who and what, sorted by cost within each run, and the name of the cost."""
    table = frame.reset_index(drop=True).drop(columns=[name for name in LEFT_OUT if name in frame.columns])
    table.columns = [str(name) for name in table.columns]
    if not len(table):
        raise RequestError("the table of curves is empty")
    if "label" in table:
        table["optimizer"] = table.pop("label")
    if "status" in table:
        table = table[table["status"] != MISSING].copy()
    cost = next((name for name in COSTS if name in table), None)
    if cost is None:
        raise RequestError(_lacks("passes", table, f"the cost so far, {', '.join(COSTS[:-1])} or {COSTS[-1]}"))
    for name, what in (("optimizer", "what is compared"), ("loss", "of the training data, lower is better")):
        if name not in table:
            raise RequestError(_lacks(name, table, what))
    for name, value in (("problem", "problem"), ("seed", 0), ("budget", math.nan)):
        if name not in table:
            table[name] = value
    for name in table.columns.difference(["problem", "optimizer", "status", "device"]):
        table[name] = _numbers(table[name], name)
    for name in ("problem", "optimizer"):
        if table[name].isna().any():
            raise RequestError(f"row {_first(table[name].isna())}: {name} is missing")
        table[name] = table[name].astype(str)
    if (wrong := ~(table["seed"] % 1 == 0)).any():
        raise RequestError(f"row {_first(wrong)}: seed is {table['seed'][wrong].iloc[0]}, not a whole number")
    bare = table[cost].isna() & (table["status"].isin(WITHOUT_POINTS) if "status" in table else False)
    if (wrong := ~(table[cost] >= 0) & ~bare | (table[cost] == math.inf)).any():
        raise RequestError(f"row {_first(wrong)}: {cost} is {table[cost][wrong].iloc[0]}, not a cost of 0 or more")
    if (again := table.duplicated([*WHO, cost]) & ~bare).any():
        row = table[again].iloc[0]
        where = f"{row['optimizer']} on {row['problem']}, seed {int(row['seed'])}"
        raise RequestError(
            f"row {_first(again)}: a second point of {where} at {row[cost]:g} {cost}; number runs of a cell by seed"
        )
    return table.sort_values([*WHO, cost], kind="stable"), cost


def _lacks(name: str, table: pd.DataFrame, what: str) -> str:
    close = difflib.get_close_matches(name, table.columns, 1, 0.5)
    hint = f"rename {close[0]!r}" if close else f"there are {', '.join(map(repr, table.columns[:8]))}"
    return f"the table of curves has no column {name!r} ({what}); {hint}"


def _numbers(column: pd.Series[Any], name: str) -> pd.Series[float]:
    found = pd.to_numeric(column, errors="coerce").astype(float)
    wrong = found.isna() & column.notna()
    if wrong.any():
        value = column[wrong].iloc[0]
        raise RequestError(f"row {_first(wrong)}: {name} is {value!r}, no number; drop the column or mend the row")
    return found


def _first(wrong: pd.Series[bool]) -> int:
    """The number of the first such row, from 1."""
    return int(wrong.to_numpy().argmax()) + 1


def _run(rows: pd.DataFrame, cost: str) -> Run:
    first: Mapping[Any, Any] = rows.iloc[0].to_dict()
    names = [name for name in rows.columns if name not in (*WHO, "steps", "budget", "best", "status", "device")]
    scored = rows[rows[cost].notna()]
    curve = [_point(row, cost) for row in scored[[*dict.fromkeys([*names, cost])]].to_dict("records")]
    budget = float(first["budget"]) if math.isfinite(first["budget"]) else 0.0
    return Run(
        problem=first["problem"],
        optimizer=first["optimizer"],
        seed=int(first["seed"]),
        status=_status(first.get("status"), curve, budget),
        device=str(first.get("device") or "cpu"),
        budget=budget,
        passes=curve[-1]["passes"] if curve else 0.0,
        seconds=curve[-1]["seconds"] if curve else 0.0,
        curve=curve,
        optimum=_known(first.get("best")),
        precisions=False,
        family="third-party",
        summary="a curve measured elsewhere",
        track="supervised",
    )


def _point(row: Mapping[Any, float], cost: str) -> dict[str, float]:
    point = {str(name): value for name, value in row.items() if name != "steps" and not _absent(str(name), value)}
    at = float(row[cost])
    return {"passes": at, "forward": 0.0, "backward": 0.0, "seconds": 0.0} | point | {"passes": at}


def _absent(name: str, value: float) -> bool:
    return math.isnan(value) and name != "loss"


def _status(stated: Any, curve: Sequence[Mapping[str, float]], budget: float) -> str:
    if isinstance(stated, str) and stated in STATUSES:
        return stated
    if not math.isfinite(curve[-1]["loss"]):
        return "diverged"
    return "spent" if curve[-1]["passes"] >= budget * (1 - 1e-9) else "finished"


def _known(best: Any) -> float | None:
    return float(best) if isinstance(best, int | float) and math.isfinite(best) else None
