"""Throughput and memory, and where the time of the run went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import nan
from typing import Any

import pandas as pd

from optbench.report import charts as charts_of
from optbench.report.analysis.findings import Findings
from optbench.report.analysis.statistics import Interval, coverage
from optbench.report.analysis.time_spent import COLUMNS
from optbench.report.figures import overview
from optbench.report.format import between, listed, number, percent, plural, records_of, scaled
from optbench.report.sections.base import Content, Drawing, Section

MIN_RUNS = 3  # lone runs of a cell from which its seconds have an interval, and may be spoken of
PINNED = (
    "Trials on a core of their own share memory and the clock rate of the processor, so their seconds are longer than "
    "those of a trial alone, for some more than for others: a difference of less than a half tells nothing. "
    "`--timing 1` runs them one after another."
)


def content(findings: Findings, drawing: Drawing) -> Content | None:
    """None where no trial was planned."""
    if not len(findings.study.trials):
        return None
    speeds, spent = findings.speeds, findings.worker_time
    pinned = [environment.get("timing") == "pinned" for environment in findings.study.environments]
    disturbed = [found for environment in findings.study.environments if (found := environment.get("interference"))]
    clock = " ".join(
        part for part in (_clock(speeds, pinned), PINNED if any(pinned) else "", _disturbed(disturbed)) if part
    )
    values = {"clock": clock, "spent": spent_sentence(spent)}
    tables = {"speeds": _speeds(speeds), "price": _prices(findings.prices), "worker_time": spent_by_problem(spent)}
    charts = {"throughput": charts_of.throughput(findings.study.labels, speeds)}
    figures = {"throughput": partial(overview.throughput, drawing.labels, drawing.styles, speeds)}
    captions = {"throughput": "Throughput and memory: a mark a problem."}
    return Content(
        values,
        {"speeds": speeds, "price_of_a_step": findings.prices, "worker_time": spent},
        tables,
        charts,
        {},
        figures,
        captions,
    )


def _clock(speeds: pd.DataFrame, pinned: Sequence[bool]) -> str:
    """Whether seconds may be compared. pinned: of each folder, whether several trials ran at a time, one a core."""
    places = {True: "on a core of its own, several at a time", False: "alone on the machine"}
    where = " or ".join(place for how, place in places.items() if how in (pinned or [False]))
    if not len(speeds):
        return ""
    alone = speeds["comparable"].astype(bool)
    if alone.all():
        runs = int(speeds["trials"].min())
        if runs < MIN_RUNS:
            return (
                f"Every row was timed {where}, {plural(runs, 'run')} each. Fewer than {MIN_RUNS} have no "
                f"interval, so no claim rests on seconds; `--timing {MIN_RUNS}` gives one."
            )
        return (
            f"Every row was timed {where}, {runs} runs each or more: medians over seeds. "
            "Seconds have their exact interval, or in round brackets the range where it covers less than 90 %."
        )
    if not alone.any():
        return (
            "No trial ran alone. Trials shared the machine, so seconds and rates are rough and must not be compared "
            "between optimizers. Passes may be."
        )
    return f"Rows marked alone were timed {where} and may be compared; rows marked shared may not."


def _disturbed(ratios: Sequence[float]) -> str:
    """How much longer a fixed piece of work took with all cores at it, where that was measured."""
    if not ratios:
        return ""
    work = f"a fixed piece of work took {max(ratios):.2f} times as long with all cores at it as alone"
    return f"Measured in this run: {work}."


def _speeds(table: pd.DataFrame) -> pd.DataFrame:
    """Throughput: a row a cell."""
    rows = []
    gpu = {"utilisation": "GPU use", "joules": "energy (J)"} if len(table) else {}
    gpu = {name: title for name, title in gpu.items() if table[name].notna().any()}
    for cell in records_of(table):
        rows.append(
            {
                "optimizer": cell["label"],
                "problem": cell["problem"],
                "clock": "alone" if cell["comparable"] else "shared",
                "seconds": _seconds_of(cell),
                "samples/s": scaled(cell["samples_per_second"], ""),
                "candidates/s": scaled(cell["candidates_per_second"], ""),
                "FLOP/s": scaled(cell["flops_per_second"], ""),
                "of ceiling": percent(cell["share_of_ceiling"]),
                "own work": percent(cell["own_share"]),
                "own seconds": percent(cell["own_seconds_share"]),
                "peak memory": scaled(cell["peak_bytes"], "B"),
            }
            | {gpu[name]: percent(cell[name]) if name == "utilisation" else number(cell[name]) for name in gpu}
        )
    out = pd.DataFrame(rows)
    out.attrs["high_first"] = ["samples/s", "candidates/s", "FLOP/s", "of ceiling"]
    return out


def _seconds_of(cell: Mapping[str, Any]) -> str:
    """The median over lone runs, with its interval from `MIN_RUNS` of them on."""
    if not cell["comparable"] or cell["trials"] < MIN_RUNS:
        return number(cell["seconds"])
    level = coverage(cell["trials"])
    return between(Interval(cell["seconds"], cell["seconds_low"], cell["seconds_high"], level))


def _prices(table: pd.DataFrame) -> pd.DataFrame:
    """What a step costs: a row a cell."""
    return pd.DataFrame(
        [
            {
                "optimizer": row["label"],
                "problem": row["problem"],
                "steps": number(row["evaluations"]),
                "problem (passes a step)": number(row["problem_passes"]),
                "own work (passes a step)": number(row["own_passes"]),
                "own work": percent(row["own_share"]),
                "state (times the parameters)": number(row["state_multiple"]),
            }
            for row in records_of(table)
        ]
    )


def spent_sentence(table: pd.DataFrame) -> str:
    """Where the time of all trials went; empty where records do not tell."""
    if not len(table):
        return ""
    wall, clock, warmup = (float(table[name].sum()) for name in COLUMNS[3:])
    by = table.groupby("label")["worker_seconds"].sum().sort_values(ascending=False)
    most = listed([f"{label} ({percent(value / wall)})" for label, value in by.head(5).items()])
    return (
        f"{plural(int(table['trials'].sum()), 'trial')} took {_seconds(wall)} of worker time: "
        f"{percent(clock / wall)} in optimizers, {percent(warmup / wall)} in warm-up and tracing, "
        f"{percent(max(0.0, 1 - (clock + warmup) / wall))} in scoring and setting up. The most went to {most}."
    )


def spent_by_problem(table: pd.DataFrame) -> pd.DataFrame:
    """A row a problem, the longest first."""
    if not len(table):
        return pd.DataFrame()
    wall = float(table["worker_seconds"].sum())
    by = table.groupby("problem", as_index=False)[[*COLUMNS[2:]]].sum().sort_values("worker_seconds", ascending=False)
    return pd.DataFrame(
        [
            {
                "problem": row["problem"],
                "trials": row["trials"],
                "worker time": _seconds(row["worker_seconds"]),
                "of all": percent(row["worker_seconds"] / wall),
                "in optimizers": percent(
                    row["clock_seconds"] / row["worker_seconds"] if row["worker_seconds"] else nan
                ),
            }
            for row in records_of(by)
        ]
    )


def _seconds(value: float) -> str:
    return f"{value:,.0f} s" if value >= 100 else f"{number(value)} s"


SECTION = Section("speed", "Speed and memory", content)
