"""Files for papers and for other programs: figures as SVG and PNG, tables as CSV and LaTeX."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from optbench.report.format import DASH, MINUS

DPI = 200
TRIALS_AT_ONCE = 4096  # whose points are written to a Parquet file together
FORMATS = ("svg", "pdf", "png")


def figures(folder: Path, drawn: Mapping[str, Callable[[], Any]]) -> list[str]:
    """Draw figures one by one, save each in every format and close it; returns the names of those with something on it.

    drawn: {name: what draws it}. Same input, same bytes.
    """
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for name, draws in drawn.items():
        figure = draws()
        if figure is None:
            continue
        figure.set_dpi(DPI)
        figure.get_layout_engine().execute(figure)  # once for all formats
        figure.set_layout_engine("none")
        for kind in FORMATS:
            _save(figure, folder / f"{name}.{kind}", kind)
        plt.close(figure)
        names.append(name)
    return names


def _save(figure: Any, path: Path, kind: str) -> None:
    """One format, through its own canvas: `savefig` would draw everything twice. Dates are left out."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    if kind == "svg":
        FigureCanvasSVG(figure).print_svg(path, metadata={"Date": None})
    elif kind == "pdf":
        FigureCanvasPdf(figure).print_pdf(path, metadata={"CreationDate": None})
    else:
        figure.set_dpi(DPI)  # the other two leave theirs behind
        FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})


def tables(folder: Path, data: Mapping[str, pd.DataFrame], texts: Mapping[str, pd.DataFrame]) -> None:
    """`data` in full as CSV, `texts` (formatted) as LaTeX and Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in data.items():
        as_text(table).to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    for name, table in texts.items():
        (folder / f"{name}.tex").write_text(latex(table), encoding="utf-8")
        (folder / f"{name}.md").write_text(markdown(table), encoding="utf-8")


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """The table with text that no spreadsheet takes for a formula; numbers, also those written as text, stay."""
    columns = {name: table[name].map(_no_formula) for name in table.columns if table[name].dtype.kind not in "fiub"}
    return table.assign(**columns).rename(columns=_no_formula) if columns or len(table.columns) else table


def _no_formula(value: object) -> object:
    if not isinstance(value, str) or not value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def tidy(folder: Path, trials: pd.DataFrame, points: pd.DataFrame) -> str:
    """trials.parquet, points.parquet and benchopt.parquet; returns where the points are, or what is missing.

    points: with the column `trial`, sorted by it. They are written some trials at a time, for with their trial's names
    they take twice their memory.
    """
    if importlib.util.find_spec("pyarrow") is None:
        return "records.jsonl (Parquet files need pyarrow: pip install pyarrow)"
    with (folder / "trials.parquet").open("wb") as file:  # Arrow takes no path that is no UTF-8
        flat_trials(trials).to_parquet(file, index=False)
    with (folder / "points.parquet").open("wb") as all_of_them, (folder / "benchopt.parquet").open("wb") as named:
        _write_in_parts(trials, points, all_of_them, named)
    return "tables/points.parquet"


def _write_in_parts(trials: pd.DataFrame, points: pd.DataFrame, all_of_them: IO[bytes], named: IO[bytes]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    trial = points["trial"].to_numpy()
    writers: dict[IO[bytes], pq.ParquetWriter] = {}
    for first in range(0, int(trial[-1]) + 1 if len(trial) else 1, TRIALS_AT_ONCE):
        begin, end = np.searchsorted(trial, [first, first + TRIALS_AT_ONCE])
        part = named_points(trials, points.iloc[begin:end])
        for file, wanted in ((all_of_them, part), (named, part.rename(columns=BENCHOPT)[list(BENCHOPT.values())])):
            schema = writers[file].schema if file in writers else None
            table = pa.Table.from_pandas(wanted, schema=schema, preserve_index=False)
            if file not in writers:
                writers[file] = pq.ParquetWriter(file, table.schema)
            writers[file].write_table(table)
    for writer in writers.values():
        writer.close()


def flat_trials(trials: pd.DataFrame) -> pd.DataFrame:
    """The table of trials with settings and certificates as JSON text, as files of tables hold them."""
    flat = trials.assign(hyper=[json.dumps(hyper, sort_keys=True, default=str) for hyper in trials["hyper"]])
    flat["certificate"] = [json.dumps(value, default=str) if value else None for value in flat["certificate"]]
    return flat


# The columns that benchopt's own tools read; `stop_val` is the cost, here in passes.
BENCHOPT = {
    "problem": "data_name",
    "label": "solver_name",
    "seed": "idx_rep",
    "passes": "stop_val",
    "seconds": "time",
    "loss": "objective_value",
}


def named_points(trials: pd.DataFrame, points: pd.DataFrame) -> pd.DataFrame:
    """A row a point with its trial's names; `fopt`, `f_minus_fopt` and `best_f_minus_fopt` are COCO's columns."""
    names = ["key", "problem", "label", "seed", "split", "status", "alone"]
    out = points.join(trials[names].assign(fopt=trials["best"]), on="trial")
    fopt = out["fopt"].astype(float)
    lowest = out["loss"].groupby(out["trial"]).cummin()
    return out.assign(f_minus_fopt=out["loss"] - fopt, best_f_minus_fopt=lowest - fopt)


_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    DASH: "--",
    MINUS: r"\ensuremath{-}",
    "\n": " ",
    "[": "{[}",
}


def tex(text: str) -> str:
    """Text that LaTeX sets as it stands."""
    return "".join(_LATEX.get(character, character) for character in text)


def latex(table: pd.DataFrame) -> str:
    """A booktabs tabular; the first column is text, the others are right-aligned."""
    columns = "l" + "r" * (len(table.columns) - 1)
    rows = [" & ".join(tex(str(value)) for value in row) + r" \\" for row in table.itertuples(index=False, name=None)]
    head = " & ".join(tex(str(name)) for name in table.columns) + r" \\"
    body = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}"]
    return "% needs \\usepackage{booktabs}\n" + "\n".join(body) + "\n"


def markdown(table: pd.DataFrame) -> str:
    """A pipe table; names cannot end a cell or start a tag."""
    head = [_cell(name) for name in table.columns]
    rows = [[_cell(value) for value in row] for row in table.itertuples(index=False, name=None)]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


_MARKDOWN = str.maketrans({c: "\\" + c for c in "\\`*_{}[]<>#|$~"} | {"&": "&amp;", "\n": " ", "\r": " "})


def _cell(value: object) -> str:
    return md(str(value))


def md(text: str) -> str:
    """Text that Markdown shows as it stands."""
    return text.translate(_MARKDOWN)
