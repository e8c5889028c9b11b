"""Write docs/coco.csv, the tables of docs/coco.md and COCO's own ECDF figures, from folders of COCO's log files.

    OMP_NUM_THREADS=1 python -m optbench coco --optimizer pso --dimensions 2,5,10 --out exdata
    OMP_NUM_THREADS=1 python scripts/coco_natives.py exdata --dimensions 2,5,10
    python scripts/make_coco.py exdata

A dimension counts where its 24 functions have the same instances, 1 to 5 at least. What is read of the logs is kept in
docs/coco.csv; without an argument the tables are written from that file. With --add the trials that it holds stay, but
for those that ran again, and the figure is left as it is, unless --figures asks for it: COCO draws from its logs alone,
so they must all be in one folder.
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
WHO = ["algorithm", "d", "f", "i"]  # a trial
# ours, and the original that it is compared with
PAIRS = {
    "cma_es": "pycma",
    "sep_cma_es": "pycma_diagonal",
    "pso": "pyswarms_global",
    "nelder_mead": "scipy_nelder_mead",
    "scipy_lbfgsb": "scipy_lbfgsb (native)",
    "lbfgs": "scipy_lbfgsb (native)",
    "differential_evolution": "scipy_de",
}
NATIVE = ("pycma", "pycma_diagonal", "pyswarms_global", "scipy_nelder_mead", "scipy_lbfgsb (native)", "scipy_de")
# COCO's figure has space for nine letters
SHORT = {
    "differential_evolution": "diff. ev.",
    "nelder_mead": "Nelder-M.",
    "scipy_lbfgsb": "L-BFGS-B",
    "sep_cma_es": "sep-CMA",
    "scipy_lbfgsb (native)": "scipy L-B",
    "scipy_nelder_mead": "scipy N-M",
    "pyswarms_global": "pyswarms",
    "pycma_diagonal": "pycma sep",
}
FUNCTIONS, FEWEST = 24, 5  # of the suite; instances of each, at least
DRAWS = 2000  # of the bootstrap
EQUALS, EQUAL_DRAWS = 20, 400  # comparisons of equals, and draws of the bootstrap in each


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
            for trial, (instance, spent) in enumerate(zip(one.instancenumbers, one.maxevals, strict=True)):
                row = {"algorithm": name, "f": one.funcId, "d": one.dim, "i": int(instance), "spent": int(spent)}
                rows.append(row | dict(zip(COLUMNS, found[:, trial], strict=True)))
    return pd.DataFrame(rows), sets


def complete(table: pd.DataFrame) -> pd.DataFrame:
    """The dimensions of an algorithm that are complete, one row a trial: the last, where it ran again."""
    table = table.drop_duplicates(WHO, keep="last").sort_values(WHO, ignore_index=True)
    return table.groupby(["algorithm", "d"]).filter(_is_whole)


def _is_whole(rows: pd.DataFrame) -> bool:
    """Whether these trials of an algorithm in a dimension are the same instances of every function."""
    instances = {f: tuple(here) for f, here in rows.groupby("f")["i"]}
    return len(instances) == FUNCTIONS and len(set(instances.values())) == 1 and len(instances[1]) >= FEWEST


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
    most = {d: table[table["d"] == d]["i"].nunique() for d in dims}
    header = "".join(f" {d}-D, {most[d]} instances |" for d in dims)
    lines = ["| optimizer |" + header, "|---" * (len(dims) + 1) + "|"]
    for name, rows in sorted(table.groupby("algorithm"), key=lambda item: (item[0] in NATIVE, item[0])):
        cells = []
        for d in dims:
            here = rows[rows["d"] == d]
            few = f" ({here['i'].nunique()})" if here["i"].nunique() < most[d] else ""
            cells.append(f"{share(here)}{few}" if len(here) else "-")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def share(rows: pd.DataFrame) -> str:
    """What these trials hit of all precisions."""
    return f"{100 * np.isfinite(rows[COLUMNS].to_numpy(float)).mean():.1f} %"


def ratios(table: pd.DataFrame) -> list[str]:
    """A row a pair and a dimension, on the instances that both have: how many times the original's ERT ours is, in the
    middle of functions, and how often ours lies within the bootstrap interval of the original's."""
    lines = [
        "| ours | original | dimension | instances | ours hits | original hits | ERT, ours / original | "
        "within its interval | were they equal |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    rng = np.random.default_rng(0)
    for ours, native in PAIRS.items():
        for d in sorted(table["d"].unique()):
            a, b = (table[(table["algorithm"] == name) & (table["d"] == d)] for name in (ours, native))
            both = set(a["i"]) & set(b["i"])
            a, b = (rows[rows["i"].isin(both)] for rows in (a, b))
            if both:
                lines.append(
                    f"| {ours} | {native} | {d} | {len(both)} | {share(a)} | {share(b)} | {_compared(a, b, rng)} |"
                )
    return lines


def _compared(a: pd.DataFrame, b: pd.DataFrame, rng: np.random.Generator) -> str:
    logs, inside, equal, cells = [], 0, 0.0, 0
    for f in sorted(set(a["f"]) & set(b["f"])):
        one, two = a[a["f"] == f], b[b["f"] == f]
        mine, theirs = ert(one), ert(two)
        both = np.isfinite(mine) & np.isfinite(theirs)
        if both.any():
            logs.append(np.log(mine[both] / theirs[both]).mean())
        cells += int(both.sum())
        inside += int(is_within(one, two, DRAWS, rng)[both].sum())
        either = pd.concat([one, two])
        for _ in range(EQUALS):
            drawn = [either.iloc[rng.integers(len(either), size=len(side))] for side in (one, two)]
            equal += is_within(drawn[0], drawn[1], EQUAL_DRAWS, rng)[both].sum() / EQUALS
    middle = [np.mean(rng.choice(logs, len(logs))) for _ in range(DRAWS)]
    low, high = np.exp(np.quantile(middle, [0.025, 0.975]))
    return f"{math.exp(np.mean(logs)):.2f} [{low:.2f}, {high:.2f}] | {inside} of {cells} | {equal:.0f}"


def is_within(a: pd.DataFrame, b: pd.DataFrame, draws: int, rng: np.random.Generator) -> np.ndarray:
    """(targets,) whether the ERT of the trials a lies within the 95 % bootstrap interval of that of the trials b."""
    costs, spent = b[COLUMNS].to_numpy(float), b["spent"].to_numpy(float)[:, None]
    drawn = rng.integers(len(b), size=(draws, len(b)))
    again = total(costs[drawn], spent[drawn])
    again = np.where(np.isfinite(again), again, np.inf)
    low, high = np.quantile(again, [0.025, 0.975], axis=0, method="nearest")
    return (ert(a) >= low) & (ert(a) <= high)


def figures(sets: dict[str, Any], dimension: int) -> Path:
    """COCO's own ECDF of all functions in one dimension, as a small picture."""
    import matplotlib

    matplotlib.use("Agg")
    from cocopp import genericsettings, pproc, testbedsettings
    from cocopp.compall import pprldmany

    testbedsettings.load_current_testbed("bbob", pproc.TargetValues)
    genericsettings.figure_file_formats = ["png"]
    genericsettings.in_a_hurry = 0  # sharp
    genericsettings.figsize = [9.6, 4.8]  # space for the names, a quarter of the width
    chosen = {}
    for name, found in sets.items():
        here = [one for one in found if one.dim == dimension]
        if len(here) == 24:
            kept = pproc.DataSetList()
            kept.extend(here)
            chosen[SHORT.get(name, name)] = kept
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
    parser.add_argument("folders", nargs="*", type=Path, help="of COCO's log files, a folder an algorithm in each")
    parser.add_argument("--figures", help="dimensions to draw (default: 5; with --add, none)")
    parser.add_argument("--add", action="store_true", help="to the trials that docs/coco.csv holds")
    options = parser.parse_args()
    drawn = [int(d) for d in (options.figures or "" if options.add else options.figures or "5").split(",") if d]
    if len(options.folders) > 1 and (drawn or not options.add):
        parser.error("several folders are read with --add and without --figures, since COCO draws from one")
    tables = [pd.read_csv(DATA)] if options.add else []
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for folder in options.folders:
            table, sets = read(folder)
            tables.append(table)
            whole = set(complete(table)["algorithm"]) if drawn else set()
            for dimension in drawn:
                figures({name: found for name, found in sets.items() if name in whole}, dimension)
    if options.folders:
        complete(pd.concat(tables)).to_csv(DATA, index=False, float_format="%.0f")
    write_tables(pd.read_csv(DATA))


if __name__ == "__main__":
    main()
