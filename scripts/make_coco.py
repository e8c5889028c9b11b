"""Write docs/coco.csv, the tables of docs/coco.md and COCO's own ECDF figures, from folders of COCO's log files.

    OMP_NUM_THREADS=1 python -m optbench coco --optimizer pso --instances 1..5 --dimensions 2,5,10 --out exdata
    OMP_NUM_THREADS=1 python scripts/coco_natives.py exdata --instances 1-5 --dimensions 2,5,10
    python scripts/make_coco.py exdata

What is read of the logs is kept in docs/coco.csv; without an argument the tables are written from that file.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

HERE = Path(__file__).parents[1] / "docs"
DATA, PAGE, FIGURES = HERE / "coco.csv", HERE / "coco.md", HERE / "figures"
PRECISIONS = tuple(10.0**k for k in range(2, -9, -1))
COLUMNS = [f"{precision:.0e}" for precision in PRECISIONS]
# ours, and the original that it is compared with
PAIRS = {
    "cma_es": "pycma",
    "pso": "pyswarms_global",
    "nelder_mead": "scipy_nelder_mead",
    "scipy_lbfgsb": "scipy_lbfgsb (native)",
    "lbfgs": "scipy_lbfgsb (native)",
    "differential_evolution": "scipy_de",
}
NATIVE = ("pycma", "pyswarms_global", "scipy_nelder_mead", "scipy_lbfgsb (native)", "scipy_de")
TRIALS = 5  # of every function in a dimension; where some are absent, the dimension is left out
DRAWS = 2000  # of the bootstrap


def read(folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A row a trial (algorithm, function, dimension): evaluations to every precision, empty for a miss; and cocopp's
    data sets by algorithm."""
    import cocopp.pproc

    rows, sets = [], {}
    for path in sorted(path for path in (*folder.iterdir(), *folder.glob("matched/*")) if any(path.rglob("*.info"))):
        if path.name == "matched":
            continue
        name = path.name if path.parent.name == "matched" or path.name != "scipy_lbfgsb" else "scipy_lbfgsb (native)"
        sets[name] = cocopp.pproc.DataSetList([str(path)])
        for one in sets[name]:
            found = np.array(one.detEvals(PRECISIONS), dtype=float)  # (targets, trials)
            for trial, spent in enumerate(one.maxevals):
                row = {"algorithm": name, "f": one.funcId, "d": one.dim, "trial": trial, "spent": int(spent)}
                rows.append(row | dict(zip(COLUMNS, found[:, trial], strict=True)))
    table = pd.DataFrame(rows)
    whole = table.groupby(["algorithm", "d"])["f"].transform("size") == table.groupby("d")["f"].nunique().max() * TRIALS
    return table[whole], {name: found for name, found in sets.items() if name in set(table[whole]["algorithm"])}


def ert(rows: pd.DataFrame) -> np.ndarray:
    """(targets,) expected running times of the trials in these rows."""
    costs, spent = rows[COLUMNS].to_numpy(float), rows["spent"].to_numpy(float)[:, None]
    return total(costs, spent)


def total(costs: np.ndarray, spent: np.ndarray) -> np.ndarray:
    """(..., trials, targets) evaluations, NaN for a miss, and what a trial spent -> (..., targets) ERT."""
    hit = np.isfinite(costs)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(hit, costs, spent).sum(-2) / hit.sum(-2)


def hits(table: pd.DataFrame) -> list[str]:
    """A row an algorithm, a column a dimension: the share of (function, instance, precision) that it hit."""
    dims = sorted(table["d"].unique())
    lines = ["| optimizer | " + " | ".join(f"{d}-D" for d in dims) + " |", "|---" * (len(dims) + 1) + "|"]
    for name, rows in sorted(table.groupby("algorithm"), key=lambda item: (item[0] in NATIVE, item[0])):
        cells = []
        for d in dims:
            here = rows[rows["d"] == d]
            cells.append(f"{100 * np.isfinite(here[COLUMNS].to_numpy(float)).mean():.1f} %" if len(here) else "-")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def ratios(table: pd.DataFrame) -> list[str]:
    """A row a pair and a dimension: how many times the original's ERT ours is, in the middle of functions, how often
    ours lies within the bootstrap interval of the original's."""
    lines = [
        "| ours | original | dimension | ours hits | original hits | ERT, ours / original | within its interval |",
        "|---|---|---|---|---|---|---|",
    ]
    rng = np.random.default_rng(0)
    for ours, native in PAIRS.items():
        for d in sorted(table["d"].unique()):
            a, b = (table[(table["algorithm"] == name) & (table["d"] == d)] for name in (ours, native))
            if not len(a) or not len(b):
                continue
            lines.append(f"| {ours} | {native} | {d} | {_compared(a, b, rng)} |")
    return lines


def _compared(a: pd.DataFrame, b: pd.DataFrame, rng: np.random.Generator) -> str:
    logs, inside, cells = [], 0, 0
    for f in sorted(set(a["f"]) & set(b["f"])):
        one, two = a[a["f"] == f], b[b["f"] == f]
        mine, theirs = ert(one), ert(two)
        both = np.isfinite(mine) & np.isfinite(theirs)
        if both.any():
            logs.append(np.log(mine[both] / theirs[both]).mean())
        costs, spent = two[COLUMNS].to_numpy(float), two["spent"].to_numpy(float)[:, None]
        drawn = rng.integers(len(two), size=(DRAWS, len(two)))
        low, high = np.nanquantile(
            np.where(np.isfinite(again := total(costs[drawn], spent[drawn])), again, np.inf),
            [0.025, 0.975],
            axis=0,
            method="nearest",
        )
        cells += int(both.sum())
        inside += int(((mine >= low) & (mine <= high))[both].sum())
    middle = [np.mean(rng.choice(logs, len(logs))) for _ in range(DRAWS)]
    low, high = np.exp(np.quantile(middle, [0.025, 0.975]))
    share = [f"{100 * np.isfinite(rows[COLUMNS].to_numpy(float)).mean():.1f} %" for rows in (a, b)]
    text = f"{math.exp(np.mean(logs)):.2f} [{low:.2f}, {high:.2f}]"
    return f"{share[0]} | {share[1]} | {text} | {inside} of {cells}"


def figures(sets: dict[str, Any], dimension: int) -> Path:
    """COCO's own ECDF of all functions in one dimension, as a small picture."""
    import matplotlib

    matplotlib.use("Agg")
    from cocopp import genericsettings, pproc, testbedsettings
    from cocopp.compall import pprldmany

    testbedsettings.load_current_testbed("bbob", pproc.TargetValues)
    genericsettings.figure_file_formats = ["png"]
    chosen = {}
    for name, found in sets.items():
        here = [one for one in found if one.dim == dimension]
        if len(here) == 24:
            kept = pproc.DataSetList()
            kept.extend(here)
            chosen[name] = kept
    with tempfile.TemporaryDirectory() as folder:
        pprldmany.main(chosen, order=list(chosen), outputdir=folder, info=f"{dimension:02d}D", dimension=dimension)
        (made,) = Path(folder).rglob("*.png")
        target = FIGURES / f"coco_ecdf_{dimension}d.png"
        shutil.copyfile(made, target)
    from PIL import Image

    with Image.open(target) as picture:
        small = picture.convert("RGB")
        small.thumbnail((900, 900))
        small.quantize(64).save(target, optimize=True)
    return target


def write_tables(table: pd.DataFrame) -> None:
    """Put the tables between their marks in the page."""
    text = PAGE.read_text(encoding="utf-8")
    for mark, lines in (("hits", hits(table)), ("ratios", ratios(table))):
        begin, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->"
        head, _, rest = text.partition(begin)
        text = head + begin + "\n" + "\n".join(lines) + "\n\n" + end + rest.partition(end)[2]
    PAGE.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="of COCO's log files, a folder an algorithm")
    parser.add_argument("--figures", default="5", help="dimensions to draw (default: 5)")
    folder = (options := parser.parse_args()).folder
    if folder is None:
        write_tables(pd.read_csv(DATA))
        return
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        table, sets = read(folder)
        for dimension in options.figures.split(","):
            figures(sets, int(dimension))
    table.to_csv(DATA, index=False, float_format="%.0f")
    write_tables(pd.read_csv(DATA))


if __name__ == "__main__":
    main()
