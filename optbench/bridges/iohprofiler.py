"""Records in IOHprofiler's file format, and back: what IOHanalyzer and iohinspector read, and `ioh` writes.

A folder an optimizer; in it a JSON file a function, which names the runs, and a table of points a dimension. Doerr et
al. (2018), "IOHprofiler: a benchmarking and profiling tool for iterative optimization heuristics".

`evaluations` are passes, rounded up, and the first point stands at 1, as every reader expects; points within one pass
follow each other by 1. `raw_y` is the loss above the optimum where that is known, else the loss. Exact beside them:
`passes`, `loss` and whatever else was measured.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optbench.bridges.foreign import Run, spread, write_results
from optbench.core.trial import RequestError, spec
from optbench.records.files import read_environment, read_records
from optbench.records.schema import Record
from optbench.records.splits import fact_of
from optbench.registry.specs import parse

FORMAT = "0.4.2"  # of the package ioh, whose files these are like
KEPT = "environment.optbench"  # a copy of environment.json; another ending, since readers take every .json for a run
NO_VALUE = 1.7976931348623157e308  # of a run that measured nothing: infinity is no JSON
COLUMNS = ("evaluations", "raw_y", "loss", "passes", "forward", "backward", "seconds", "own_flops")
RUN_ATTRIBUTES = ("seed", "budget", "passes", "seconds")  # numbers; problem, device and status stand beside them
MAX_DIMENSION = 2**16 - 1  # that iohinspector holds
SUITES = ("bbob", "bbob-noisy", "bbob-largescale", "ioh-sbox", "ioh-cec2022")  # problems with f, d and i


@dataclass(frozen=True)
class _Place:
    """Where a problem's runs go: a function of a suite in a dimension, and the instance."""

    suite: str
    function: int
    name: str
    dimension: int
    instance: int


def write(folder: Path, out: Path) -> tuple[int, int]:
    """Write the records of a result folder; (runs written, trials left out because they do not apply).

    Raises RequestError for a folder without records, and for one that is there already.
    """
    records, _ = read_records(folder)
    if not records:
        raise RequestError(f"{folder} holds no records; `python -m optbench run --out {folder}` makes some")
    if out.exists():
        raise RequestError(f"{out} exists; remove it, or write --out another folder")
    if all(record.status == "inapplicable" for record in records):
        raise RequestError(f"no trial of {folder} applies, so there is nothing to export")
    environment = read_environment(folder)
    places = _places(records, environment)
    runs = [record for record in records if record.status != "inapplicable"]
    for label in dict.fromkeys(record.label for record in runs):
        mine = [record for record in runs if record.label == label]
        for function in dict.fromkeys((p.suite, p.function, p.name) for p in (places[r.problem] for r in mine)):
            chosen = [(places[r.problem], r) for r in mine if _function(places[r.problem]) == function]
            _write_function(out / _plain(label), label, chosen, environment)
    if environment:
        (out / KEPT).write_text(json.dumps(environment, indent=1) + "\n", encoding="utf-8")
    return len(runs), len(records) - len(runs)


def _places(records: Sequence[Record], environment: Mapping[str, Any]) -> dict[str, _Place]:
    facts = environment.get("problems", {})
    places = {}
    for number, problem in enumerate(sorted({record.problem for record in records}), 1):
        name, settings = parse(problem)[0]
        if name in SUITES:
            numbers = {"f": 101 if name == "bbob-noisy" else 1, "d": 80 if name == "bbob-largescale" else 10, "i": 1}
            numbers |= settings
            title = spec(name, {k: v for k, v in numbers.items() if k not in "di"})
            places[problem] = _Place(name, numbers["f"], title, numbers["d"], numbers["i"])
        else:
            dimension = min(int(facts.get(problem, {}).get("dim") or 1), MAX_DIMENSION)
            places[problem] = _Place("optbench", number, problem, dimension, 1)
    return places


def _function(place: _Place) -> tuple[str, int, str]:
    return place.suite, place.function, place.name


def _write_function(
    folder: Path, label: str, chosen: Sequence[tuple[_Place, Record]], environment: Mapping[str, Any]
) -> None:
    """One JSON file and its tables."""
    place = chosen[0][0]
    title = f"{place.function}_{_plain(place.name)}"
    columns = [*COLUMNS, *_metrics(record for _, record in chosen)]
    scenarios = []
    for dimension in sorted({p.dimension for p, _ in chosen}):
        path = f"data_f{title}/IOHprofiler_f{place.function}_DIM{dimension}.dat"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        runs = []
        with (folder / path).open("w", encoding="utf-8", newline="\n") as file:
            for where, record in chosen:
                if where.dimension != dimension:
                    continue
                rows = _rows(record, columns, _optimum(environment, record))
                file.write(" ".join(columns) + "\n")
                file.writelines(" ".join(map(_number, row)) + "\n" for row in rows)
                runs.append(_run(where, record, rows))
        scenarios.append({"dimension": dimension, "path": path, "runs": runs})
    head = {
        "version": FORMAT,
        "suite": place.suite,
        "function_id": place.function,
        "function_name": place.name,
        "maximization": False,
        "algorithm": {"name": label, "info": f"optbench {environment.get('optbench', '')}".strip()},
        "experiment_attributes": [{"written_by": "optbench"}],
        "run_attributes": list(RUN_ATTRIBUTES),
        "attributes": columns,
        "scenarios": scenarios,
    }
    (folder / f"IOHprofiler_f{title}.json").write_text(json.dumps(head, indent=1) + "\n", encoding="utf-8")


def _optimum(environment: Mapping[str, Any], record: Record) -> float:
    """What is taken off the loss: the optimum where it is known on the record's split of the data, else nothing."""
    best = fact_of(environment.get("problems", {}).get(record.problem, {}), record.split).get("best") or {}
    return float(best["value"]) if best.get("source") == "optimum" else 0.0


def _metrics(records: Iterable[Record]) -> list[str]:
    """What every measured point has beside the columns that all files have."""
    names = [set(point) for record in records for point in record.curve]
    return sorted(set.intersection(*names) - set(COLUMNS)) if names else []


def _rows(record: Record, columns: Sequence[str], optimum: float) -> list[tuple[float, ...]]:
    """The points of a curve with a finite loss, `evaluations` growing from 1 on; one row of NO_VALUE without any."""
    rows: list[tuple[float, ...]] = []
    latest = 0
    for point in record.curve:
        loss = point.get("loss")
        if loss is None or not math.isfinite(loss):
            continue
        latest = max(latest + 1, math.ceil(point["passes"] - 1e-9)) if rows else 1
        rows.append((latest, loss - optimum, loss, *(_real(point.get(name)) for name in columns[3:])))
    return rows or [(1, NO_VALUE, NO_VALUE, *(0.0 for _ in columns[3:]))]


def _real(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _run(place: _Place, record: Record, rows: Sequence[tuple[float, ...]]) -> dict[str, Any]:
    best = min(rows, key=lambda row: row[1])
    return {
        "instance": place.instance + record.split,
        "evals": int(max(rows[-1][0], math.ceil(record.passes - 1e-9))),
        "best": {"evals": int(best[0]), "y": best[1], "x": []},
        "seed": record.seed,
        "budget": record.budget,
        "passes": record.passes if math.isfinite(record.passes) else 0.0,
        "seconds": record.seconds if math.isfinite(record.seconds) else 0.0,
        "problem": record.problem,
        "device": record.device,
        "status": record.status,
        "own_flops": record.own_flops,
        **({"split": record.split} if record.split else {}),
    }


def read(folder: Path, out: Path) -> int:
    """Read a folder in IOHprofiler's format into a result folder that `report` takes; returns the number of runs.

    Raises RequestError where there is none, where a file is not of the format, and for `out` that holds something.
    """
    files = sorted(folder.rglob("*.json")) if folder.is_dir() else []
    if not files:
        raise RequestError(f"{folder} holds no JSON file of IOHprofiler")
    runs = [run for file in files for run in _read_function(file)]
    kept = json.loads((folder / KEPT).read_text(encoding="utf-8")) if (folder / KEPT).is_file() else None
    write_results(runs, out, source=f"IOHprofiler files in {folder.name}", kept=kept)
    return len(runs)


def _read_function(file: Path) -> Iterator[Run]:
    """The runs that one JSON file names."""
    try:
        head = json.loads(file.read_text(encoding="utf-8"))
        label, sign = head["algorithm"]["name"], -1.0 if head["maximization"] else 1.0
        for scenario in head["scenarios"]:
            tables = list(_tables((file.parent / scenario["path"]).read_text(encoding="utf-8")))
            if len(tables) != len(scenario["runs"]):
                raise RequestError(
                    f"{scenario['path']}: {len(tables)} tables for {len(scenario['runs'])} runs, not all were written"
                )
            for run, table in zip(scenario["runs"], tables, strict=True):
                yield _read_run(head, label, sign, int(scenario["dimension"]), run, table)
    except (KeyError, TypeError, ValueError, OSError) as error:
        if isinstance(error, RequestError):
            raise
        raise RequestError(f"{file}: not in IOHprofiler's format ({type(error).__name__}: {error})") from None


def _tables(text: str) -> Iterator[list[dict[str, float]]]:
    """The tables of a .dat file: each begins with its header."""
    names: list[str] = []
    rows: list[dict[str, float]] = []
    for line in text.splitlines():
        cells = line.replace('"', "").split()
        if not cells:
            continue
        if cells[0] == "evaluations":
            if names:
                yield rows
            names, rows = cells, []
        else:
            rows.append(dict(zip(names, map(float, cells), strict=True)))
    if names:
        yield rows


def _read_run(
    head: Mapping[str, Any],
    label: str,
    sign: float,
    dimension: int,
    run: Mapping[str, Any],
    table: list[dict[str, float]],
) -> Run:
    ours = {"written_by": "optbench"} in head.get("experiment_attributes", [])
    suite, function, instance = str(head["suite"]), int(head["function_id"]), int(run["instance"])
    problem, optimum = (
        (str(run["problem"]), 0.0) if ours else spread(suite, function, str(head["function_name"]), dimension, instance)
    )
    curve = []
    for row in table:
        loss = row["loss"] if ours else optimum + sign * row["raw_y"]
        if abs(loss) >= NO_VALUE:
            continue
        if ours:
            curve.append({name: value for name, value in row.items() if name not in ("evaluations", "raw_y")})
        else:
            passes = row["evaluations"]
            curve.append({"passes": passes, "forward": passes, "backward": 0.0, "seconds": 0.0, "loss": loss})
    evaluations = int(run["evals"])
    return Run(
        problem=problem,
        optimizer=label,
        seed=int(run["seed"]) if "seed" in run else None,
        split=int(run.get("split", 0)) if ours else 0,
        status=str(run["status"]) if ours else "spent",
        device=str(run["device"]) if ours else "cpu",
        budget=float(run["budget"]) if ours else float(evaluations),
        passes=float(run["passes"]) if ours else float(evaluations),
        seconds=float(run.get("seconds", 0.0)) if ours else 0.0,
        own_flops=run.get("own_flops") if ours else None,
        evaluations=evaluations,
        curve=curve,
        optimum=None if ours or suite.lower() != "bbob" else optimum,
        dimension=dimension,
        family="IOHprofiler",
        summary=str(head["algorithm"].get("info") or label),
    )


def _number(value: float) -> str:
    return (
        str(int(value))
        if math.isfinite(value) and float(value).is_integer() and abs(value) < 1e15
        else repr(float(value))
    )


def _plain(text: str) -> str:
    """As part of a path."""
    return re.sub(r"[^\w.=-]+", "_", text).strip("_") or "_"
