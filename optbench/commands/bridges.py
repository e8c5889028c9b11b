"""`coco`, `export` and `import`: to other programs, and from them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from optbench.arguments import command, completes, expect_to_train, names, whole_number
from optbench.bridges.files import FORMATS

COCO_EXAMPLES = """examples:
  optbench coco --optimizer pso --suite bbob --out exdata/
  optbench coco --optimizer lbfgs --gradient forward --dimensions 2,5 --instances 1..5
  python -m cocopp exdata/pso exdata/lbfgs           COCO's pages of both
"""
EXPORT_EXAMPLES = """examples:
  optbench export ioh results/quick --out ioh/
  optbench export tensorboard results/quick --out runs/
  optbench export csv results/quick --out tables/
  optbench export benchopt quick --out benchmark_quick
"""
IMPORT_EXAMPLES = """examples:
  optbench import ioh/ --out results/from_ioh
  optbench import benchmark_quick/outputs/a.parquet --out results/from_benchopt
  optbench import curves.csv --out results/theirs     columns: optimizer, seed, passes, loss, ...
  optbench report results/from_ioh --axis oracle     others seldom count an optimizer's own work
"""


def add(commands: Any) -> None:
    coco = command(commands, "coco", "run optimizers under COCO's own observer", _coco, COCO_EXAMPLES)
    optimizer = coco.add_argument("--optimizer", action="append", default=[], metavar="O", help="repeatable")
    coco.add_argument("--suite", default="bbob", help="bbob, bbob-noisy or bbob-largescale (default: bbob)")
    coco.add_argument("--out", metavar="DIR", default="exdata", help="one folder an optimizer (default: exdata)")
    coco.add_argument("--functions", metavar="F", default="", help="like 1..24 or 1,8,15 (default: all)")
    coco.add_argument("--dimensions", metavar="D", default="", help="like 2,5 (default: 2, 3, 5, 10, 20; large: to 80)")
    coco.add_argument("--instances", metavar="I", default="1..15", help="like 1..5 (default: 1..15)")
    coco.add_argument(
        "--budget", type=float, default=1000.0, metavar="N", help="evaluations times the dimension (default: 1000)"
    )
    coco.add_argument(
        "--gradient",
        choices=("none", "forward", "central"),
        default="none",
        help="finite differences for optimizers that need gradients; every evaluation counts",
    )
    coco.add_argument("--seed", type=whole_number, default=1, metavar="N", help="of starts and draws (default: 1)")
    coco.add_argument("--workers", type=whole_number, default=1, metavar="N", help="processes, each a batch of COCO's")
    coco.add_argument("--plugin", action="append", default=[], metavar="FILE", help="a file with your own; repeatable")
    completes(optimizer, lambda: names("optimizers"))

    export = command(commands, "export", "write what other programs read", _export, EXPORT_EXAMPLES)
    formats = (
        "csv or parquet: tables of trials and curves; tensorboard: event files; mlflow: a database; "
        "wandb: offline runs; ioh: records for IOHanalyzer; benchopt: a suite as a benchmark folder"
    )
    export.add_argument("format", choices=FORMATS, metavar="FORMAT", help=formats)
    export.add_argument("what", metavar="WHAT", help="a results folder; for benchopt a suite")
    export.add_argument("--out", required=True, metavar="DIR", help="a new folder")

    read = command(commands, "import", "read what was run elsewhere into a results folder", _import, IMPORT_EXAMPLES)
    read.add_argument("what", metavar="WHAT", help="IOHprofiler's folder, benchopt's .parquet, a table of curves")
    read.add_argument("--out", required=True, metavar="DIR", help="a new results folder")


def _coco(options: argparse.Namespace, given: list[str]) -> int:
    expect_to_train()
    from optbench.bridges import coco

    chosen = coco.experiments(
        options.optimizer,
        suite=options.suite,
        functions=options.functions,
        dimensions=options.dimensions,
        instances=options.instances,
        budget=options.budget,
        seed=options.seed,
        gradient=options.gradient,
        plugins=tuple(options.plugin),
    )
    coco.check_folders(chosen, Path(options.out))
    ended = [trial for one in chosen for trial in coco.run(one, Path(options.out), options.workers)]
    print(f"next: python -m cocopp {' '.join(str(Path(options.out) / one.folder) for one in chosen)}")
    return int(all(trial.error for trial in ended))


def _export(options: argparse.Namespace, given: list[str]) -> int:
    from optbench.bridges import files

    written = files.export(options.what, options.format, options.out)
    print(written.said)
    if written.next:
        print(f"next: {written.next}")
    return 0


def _import(options: argparse.Namespace, given: list[str]) -> int:
    from optbench.bridges import files

    out = Path(options.out)
    count, axis = files.bring(Path(options.what), out)
    print(f"{count} runs in {out}")
    print(f"next: python -m optbench report {out}{axis}")
    return 0
