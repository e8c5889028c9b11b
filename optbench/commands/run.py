"""`run`: a suite or a request is run, and its report is written."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from optbench.arguments import command, completes, expect_to_train, lane_count, lone_runs, names, typed, whole_number
from optbench.commands.results import write_report
from optbench.core.trial import FAILED, RequestError

if TYPE_CHECKING:
    from optbench.records.schema import Record

RUN_EXAMPLES = """examples:
  optbench run                                       the suite quick, about a minute
  optbench run standard --workers 8
  optbench run --problem mlp_digits --optimizer 'adam[lr=0.001,0.01]' --optimizer pso --seeds 10
  optbench run --problem mlp_iris                    a default set of optimizers on one problem
  optbench run --optimizer torch.optim:NAdam         one optimizer on a default set of problems
  optbench run --model net.py:Net --data table.csv --target price --loss mse --optimizer adam --optimizer lbfgs
  optbench run --plugin my_method.py --optimizer my_method --optimizer adam --tune 8 --out results/mine
  optbench run quick --problem mlp_iris              the suite quick with other problems

Without a suite, problems have their own default budgets and results go to results/<what was asked for>.
"""
SUCCEEDED = ("spent", "finished")  # statuses of a trial that ran to its end
# Options that are dealt with here; all others are what a request or its options have, by the same name.
HERE = {
    "carry_out",
    "command",
    "problem",
    "optimizer",
    "model",
    "data",
    "target",
    "loss",
    "batch",
    "plugin",
    "strict",
    "quiet",
    "verbose",
}


def add(commands: Any) -> None:
    run = command(commands, "run", "run a suite and write its report", _run, RUN_EXAMPLES)
    suite = run.add_argument("suite", nargs="?", help="a built-in suite or a TOML file (default: quick)")
    run.add_argument("--out", metavar="DIR", help="results folder (default: results/<suite or request>)")
    problem = run.add_argument("--problem", action="append", default=[], metavar="P", help="a problem; repeatable")
    optimizer = run.add_argument(
        "--optimizer",
        action="append",
        default=[],
        metavar="O",
        help="like 'adam[lr=0.01,0.1]'; repeatable",
    )
    run.add_argument(
        "--against",
        metavar="REFERENCE",
        help="on the problems of a reference, and beside it: standard, modern, or a folder",
    )
    run.add_argument("--model", metavar="FILE.py:NAME", help="a network of your own: a class or function in a file")
    run.add_argument("--data", metavar="PATH", help="its data: .csv, .tsv, .parquet, .npz, or a folder of pictures")
    run.add_argument("--target", metavar="COLUMN", help="the column of a table that is to be told")
    run.add_argument("--loss", metavar="L", help="cross-entropy (default), mse, l1 or bce")
    run.add_argument("--batch", type=whole_number, metavar="N", help="samples of its minibatches")
    run.add_argument("--seeds", type=whole_number, metavar="N", help="seeds 0 to N-1")
    run.add_argument(
        "--splits", type=whole_number, metavar="N", help="splits of each problem's data, which seeds take in turn"
    )
    run.add_argument("--passes", type=float, metavar="N", help="budget in passes over the training set")
    run.add_argument("--steps", type=whole_number, metavar="N", help="budget in gradient steps, instead of passes")
    run.add_argument("--seconds", type=float, metavar="S", help="budget in seconds, instead of passes")
    run.add_argument("--until", default="", metavar="GOAL", help="end a trial at 0.05 or 'valid_accuracy>=0.97'")
    run.add_argument("--tune", type=whole_number, metavar="N", help="configurations tried where there is a space")
    run.add_argument(
        "--timing", type=lone_runs, metavar="N", help="lone runs a cell for the clock, or none (default: 1)"
    )
    run.add_argument("--timeout", type=float, metavar="SECONDS", help="that a trial may take (default: 120)")
    run.add_argument("--memory", type=float, metavar="GIB", help="that a worker process may hold (default: 4)")
    run.add_argument("--workers", type=whole_number, metavar="N", help="processes (default: one a core)")
    run.add_argument("--cluster", metavar="C", help="a dask scheduler's address or file, or local:N (workers here)")
    run.add_argument(
        "--cluster-wait",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="for a scheduler and its first worker (default: 60)",
    )
    run.add_argument("--pinned", action="store_true", help="lone runs one a core, each on its own; they disturb others")
    run.add_argument(
        "--lanes", type=lane_count, metavar="N", help="trials in one program (default: auto, as many as pay)"
    )
    run.add_argument("--precision", choices=("float32", "bf16"), help="of evaluations; scores stay in float32")
    run.add_argument("--device", choices=("cpu", "cuda", "auto"), default="cpu")
    run.add_argument("--plugin", action="append", default=[], metavar="FILE", help="a file with your own; repeatable")
    run.add_argument("--trust", action="store_true", help="run Python files that the suite file itself names")
    run.add_argument(
        "--isolate", action="store_true", help="run third-party optimizers without the problem and its data"
    )
    run.add_argument("--eager", action="store_true", help="no tracing: every operation as PyTorch runs it")
    run.add_argument("--retry-failed", action="store_true", help="run failed, timed-out and killed trials again")
    run.add_argument("--add", action="store_true", help="join a folder that holds another plan")
    run.add_argument("--strict", action="store_true", help="exit 1 when a trial failed")
    run.add_argument("-q", "--quiet", action="store_true", help="print the verdict and errors alone")
    run.add_argument("-v", "--verbose", action="store_true", help="print every lane group as it ends")
    completes(suite, lambda: names("suites"))
    completes(problem, lambda: names("problems"))
    completes(optimizer, lambda: names("optimizers"))


def _run(options: argparse.Namespace, given: list[str]) -> int:
    if not options.model:
        if stated := [name for name in ("data", "target", "loss", "batch") if getattr(options, name) is not None]:
            raise RequestError(f"--{stated[0]} goes with --model FILE.py:NAME; --problem names problems that have data")
        return _run_named(options, given)
    if not options.data:
        raise RequestError("--model needs --data: a .csv, .npz or .parquet file, or a folder of pictures")
    from optbench.own.command import from_files
    from optbench.registry.classes import Names
    from optbench.registry.plugins import load_file

    _say_at_once(f"reading {options.data} ...", options)
    with Names() as sent:
        loss = options.loss or "cross-entropy"
        own = from_files(options.model, options.data, options.target, loss, options.batch, load_file)
        tasks = sent.of([own])
        options.problem = [*options.problem, *tasks.specs]
        options.plugin = [*options.plugin, *tasks.files]
        return _run_named(options, given)


def _run_named(options: argparse.Namespace, given: list[str]) -> int:
    expect_to_train()
    from optbench.execution.request import asked, is_small
    from optbench.execution.start import start_fork_server

    stated = {name: value for name, value in vars(options).items() if name not in HERE}
    stated |= {"problems": options.problem, "optimizers": options.optimizer}
    stated |= {"own_process": True, "command": typed(given), "report": True, "verbosity": _verbosity(options)}
    suite, folder, how = asked(stated, options.plugin)
    _say_at_once(f"{suite.name} into {folder}: loading torch and the problems ...", options)
    if how.cluster is None and not is_small(suite, most=4):
        start_fork_server()  # it imports torch while this process plans

    from optbench.execution.runner import run_suite

    try:
        code, why = _ending(run_suite(suite, folder, how, print if how.verbosity >= 0 else lambda line: None), options)
    except OSError as error:  # the folder or its disk, while a run uses it
        raise RequestError(f"{error.strerror or error}; what has ended is kept, the same command goes on") from None
    _say_at_once("writing the report ...", options)
    write_report([folder], None, against=options.against)
    if why:
        print(f"optbench: {why}", file=sys.stderr)
    return code


def _ending(records: list[Record], options: argparse.Namespace) -> tuple[int, str]:
    """The exit code of a run and what is said of it, if anything. The report reads records anew, so none are kept."""
    if not any(record.status in SUCCEEDED for record in records):
        why = next(
            (f": {record.optimizer} on {record.problem}: {record.error}" for record in records if record.error), ""
        )
        return 1, f"none of the {len(records)} trials succeeded{why}"
    return int(options.strict and any(record.status in FAILED for record in records)), ""


def _say_at_once(text: str, options: argparse.Namespace) -> None:
    """What goes on, before seconds in which nothing else can be seen. On stdout: a refusal is one line on stderr."""
    if _verbosity(options) >= 0:
        print(text, flush=True)


def _verbosity(options: argparse.Namespace) -> int:
    return int(options.verbose) - int(options.quiet)
