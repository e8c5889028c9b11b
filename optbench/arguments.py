"""The command line's arguments, its help and its refusals. Standard library only, argcomplete where it is installed."""

from __future__ import annotations

import argparse
import difflib
import importlib.metadata
import re
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

from optbench.bridges.files import FORMATS
from optbench.core.trial import RequestError

TRACKS = ("function", "supervised", "unsupervised", "reinforcement")  # core.problem has them, and imports torch
EXIT_CODES = """exit codes:
  0  every planned trial has a record, and at least one succeeded
  1  no trial succeeded; with --strict: a trial failed; check: a check failed; report: a cell got worse
  2  the request was refused before anything ran, or the worker processes cannot run
  130  interrupted; the same command goes on
"""
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
REPORT_EXAMPLES = """examples:
  optbench report results/quick
  optbench report results/quick --figure scores --figure curves_passes --style talk
  optbench report results/before results/after --out results/against --require-common 20
"""
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
WATCH_EXAMPLES = """examples:
  optbench watch rosenbrock_2d --optimizer adam --optimizer pso --optimizer aco_r --optimizer cma_es
  optbench watch mlp_digits --optimizer sgd --optimizer adam --passes 20 --out digits.html --film digits.gif
"""
ARCHIVE_EXAMPLES = """examples:
  optbench archive add results/mine --to archive --name my_method --author 'A. Name'
  optbench archive list archive
  optbench archive show archive/my_method
  optbench archive verify archive/my_method --sample 20 --seed 1
  optbench archive site archive --out site
  optbench report results/other --against archive/my_method
"""
DATA_EXAMPLES = """examples:
  OPTBENCH_DATA=~/data optbench data                 which of them are there
  OPTBENCH_DATA=~/data optbench data mnist --download
"""
TOUR_EXAMPLES = """examples:
  optbench tour                                          all topics, in five minutes, in the folder tour/
  optbench tour --topic learning_rates --topic batches   pages of two, beside those that are there
  optbench tour --notebooks                              the same studies as notebooks, to be run in Jupyter
"""
LIST_EXAMPLES = """examples:
  optbench list problems --track supervised
  optbench list optimizers --family swarm
  optbench list problems mri
"""


class _Parser(argparse.ArgumentParser):
    """Refuses what it cannot read in one line, with the nearest name."""

    known: ClassVar[dict[str, None]] = {}  # commands and options of all parsers

    def add_argument(self, *names: Any, **how: Any) -> argparse.Action:
        self.known.update(dict.fromkeys(name for name in names if name.startswith("--")))
        return super().add_argument(*names, **how)

    def error(self, message: str) -> NoReturn:
        wrong = re.search(r"unrecognized arguments: (\S+)|command: invalid choice: '(.*?)'", message)
        name = (wrong[1] or wrong[2]).partition("=")[0] if wrong else ""
        kind = [known for known in self.known if known.startswith("-") == name.startswith("-")]  # options, or commands
        # One that another command takes is written right; what this one takes is the question.
        close = difflib.get_close_matches(name, kind, 1, 0.5) if name not in self.known else []
        hint = f"did you mean {close[0]!r}?" if close else f"`{self.prog} --help` shows what it takes"
        raise RequestError(f"{message}; {hint}")


def _whole_number(text: str) -> int:
    """A whole number, as argparse wants its refusal."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _lone_runs(text: str) -> int:
    """A number of lone runs, 0 for "none"."""
    return 0 if text == "none" else _whole_number(text)


def _lanes(text: str) -> int | None:
    """A number of lanes, or None for "auto"."""
    return None if text == "auto" else _whole_number(text)


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; `command` is the one that was given. Completes in a shell through argcomplete."""
    whole = _Parser(
        prog="python -m optbench",
        description="Compare optimizers on torch networks.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    version = f"optbench {importlib.metadata.version('optbench')}"
    whole.add_argument("--version", action="version", version=version)
    commands = whole.add_subparsers(required=True, dest="command", metavar="command")
    _add_run(commands)
    _add_report(commands)
    _add_list(commands)
    _add_rest(commands)
    _add_watch(commands)
    _add_tour(commands)
    _add_bridges(commands)
    _add_archive(commands)
    _Parser.known.update(dict.fromkeys(commands.choices))
    _complete(whole)
    return whole


def _command(commands: Any, name: str, summary: str, epilog: str = "") -> argparse.ArgumentParser:
    added: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary.capitalize() + ".",
        epilog=f"{epilog}\n{EXIT_CODES}" if epilog else EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return added


def _add_run(commands: Any) -> None:
    run = _command(commands, "run", "run a suite and write its report", RUN_EXAMPLES)
    suite = run.add_argument("suite", nargs="?", help="a built-in suite or a TOML file (default: quick)")
    run.add_argument("--out", metavar="DIR", help="results folder (default: results/<suite or request>)")
    problem = run.add_argument("--problem", action="append", default=[], metavar="P", help="a problem; repeatable")
    optimizer = run.add_argument(
        "--optimizer", action="append", default=[], metavar="O", help="like 'adam[lr=0.01,0.1]'; repeatable"
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
    run.add_argument("--batch", type=_whole_number, metavar="N", help="samples of its minibatches")
    run.add_argument("--seeds", type=_whole_number, metavar="N", help="seeds 0 to N-1")
    run.add_argument(
        "--splits", type=_whole_number, metavar="N", help="splits of each problem's data, which seeds take in turn"
    )
    run.add_argument("--passes", type=float, metavar="N", help="budget in passes over the training set")
    run.add_argument("--steps", type=_whole_number, metavar="N", help="budget in gradient steps, instead of passes")
    run.add_argument("--seconds", type=float, metavar="S", help="budget in seconds, instead of passes")
    run.add_argument("--until", default="", metavar="GOAL", help="end a trial at 0.05 or 'valid_accuracy>=0.97'")
    run.add_argument("--tune", type=_whole_number, metavar="N", help="configurations tried where there is a space")
    run.add_argument(
        "--timing", type=_lone_runs, metavar="N", help="lone runs a cell for the clock, or none (default: 1)"
    )
    run.add_argument("--timeout", type=float, metavar="SECONDS", help="that a trial may take (default: 120)")
    run.add_argument("--memory", type=float, metavar="GIB", help="that a worker process may hold (default: 4)")
    run.add_argument("--workers", type=_whole_number, metavar="N", help="processes (default: one a core)")
    run.add_argument("--cluster", metavar="C", help="a dask scheduler's address or file, or local:N (workers here)")
    run.add_argument(
        "--cluster-wait",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="for a scheduler and its first worker (default: 60)",
    )
    run.add_argument("--pinned", action="store_true", help="lone runs one a core, each on its own; they disturb others")
    run.add_argument("--lanes", type=_lanes, metavar="N", help="trials in one program (default: auto, as many as pay)")
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
    _completes(suite, _suites)
    _completes(problem, lambda: _names("problems"))
    _completes(optimizer, lambda: _names("optimizers"))


def _add_report(commands: Any) -> None:
    report = _command(commands, "report", "write the report of result folders again", REPORT_EXAMPLES)
    report.add_argument("folder", nargs="+", metavar="DIR", help="the first is what the others are compared with")
    report.add_argument("--out", metavar="DIR", help="where to (default: the first folder)")
    report.add_argument(
        "--require-common",
        type=_whole_number,
        default=1,
        metavar="N",
        help="exit 2 when fewer cells are in all (default: 1)",
    )
    report.add_argument(
        "--axis",
        choices=("total", "oracle"),
        help="what a pass counts: all work, or the problem's alone (default: as the suite states, else total)",
    )
    report.add_argument(
        "--against", metavar="REFERENCE", help="beside the optimizers of a reference: standard, modern, or a folder"
    )
    report.add_argument(
        "--scored",
        choices=("returned", "best"),
        help="what stands for a trial at the budget: the point it returned, or the best of its curve",
    )
    report.add_argument("--mixed", action="store_true", help="rank tuned and untuned optimizers together")
    report.add_argument(
        "--figure",
        action="append",
        default=[],
        metavar="NAME",
        help="draw this figure for print, and nothing else; all for every one; repeatable",
    )
    report.add_argument(
        "--style", choices=("paper", "talk"), default="paper", help="of figures: type for a paper, or for slides"
    )


def _add_list(commands: Any) -> None:
    listing = _command(commands, "list", "list problems, optimizers and suites", LIST_EXAMPLES)
    listing.add_argument("words", nargs="*", metavar="WHAT", help="problems, optimizers or suites, then text to find")
    listing.add_argument("--track", choices=TRACKS, help="problems of this track alone")
    listing.add_argument("--family", metavar="F", help="optimizers of this family alone")
    listing.add_argument("--json", action="store_true")


def _add_rest(commands: Any) -> None:
    check = _command(commands, "check", "check an optimizer or problem for conformance")
    target = check.add_argument("target", help="a table name, module:Class, or a plugin file")
    check.add_argument("--plugin", action="append", default=[], metavar="FILE")
    _completes(target, lambda: [*_names("optimizers"), *_names("problems")])

    new = _command(commands, "new", "write a plugin file that already runs")
    new.add_argument("kind", choices=("optimizer", "problem"))
    new.add_argument("name")

    merge = _command(commands, "merge", "join results of several machines")
    merge.add_argument("folder", nargs="+", metavar="DIR")
    merge.add_argument("--out", required=True, metavar="DIR")
    merge.add_argument("--mixed", action="store_true", help="join folders of different versions all the same")

    data = _command(commands, "data", "say which standard data sets are here, and get one", DATA_EXAMPLES)
    data.add_argument("name", nargs="?", help="mnist, fmnist, cifar10, cifar100, svhn or tolstoi (default: all)")
    data.add_argument("--download", action="store_true", help="into the folder OPTBENCH_DATA, checksums compared")
    data.add_argument("--mirror", metavar="URL", help="where else its files are")


def _add_watch(commands: Any) -> None:
    watch = _command(commands, "watch", "show optimizers at work as a picture that moves", WATCH_EXAMPLES)
    problem = watch.add_argument("problem", help="a test function or a network, such as rosenbrock_2d or mlp_digits")
    optimizer = watch.add_argument(
        "--optimizer",
        action="append",
        default=[],
        metavar="O",
        help="repeatable (default: adam, pso, aco_r and sep_cma_es)",
    )
    watch.add_argument("--passes", type=float, metavar="N", help="budget (default: the problem's own)")
    watch.add_argument("--seed", type=_whole_number, default=0, metavar="N", help="of every run (default: 0)")
    watch.add_argument("--out", metavar="FILE", help="the page (default: <problem>.html)")
    watch.add_argument("--film", metavar="FILE", help="also a .gif, or an .mp4 where ffmpeg is installed")
    watch.add_argument("--plugin", action="append", default=[], metavar="FILE", help="a file with your own; repeatable")
    _completes(problem, lambda: _names("problems"))
    _completes(optimizer, lambda: _names("optimizers"))


def _add_tour(commands: Any) -> None:
    tour = _command(commands, "tour", "write the lecture as a book of pictures that run", TOUR_EXAMPLES)
    topics = tour.add_argument(
        "--topic", action="append", default=[], metavar="NAME", help="repeatable (default: all, see docs/tour.md)"
    )
    tour.add_argument("--out", default="tour", metavar="DIR", help="the folder (default: tour)")
    tour.add_argument("--notebooks", action="store_true", help="write notebooks of the studies, and run nothing")
    _completes(topics, _topics)


def _add_bridges(commands: Any) -> None:
    coco = _command(commands, "coco", "run optimizers under COCO's own observer", COCO_EXAMPLES)
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
    coco.add_argument("--seed", type=_whole_number, default=1, metavar="N", help="of starts and draws (default: 1)")
    coco.add_argument("--workers", type=_whole_number, default=1, metavar="N", help="processes, each a batch of COCO's")
    coco.add_argument("--plugin", action="append", default=[], metavar="FILE", help="a file with your own; repeatable")
    _completes(optimizer, lambda: _names("optimizers"))

    export = _command(commands, "export", "write what other programs read", EXPORT_EXAMPLES)
    formats = (
        "csv or parquet: tables of trials and curves; tensorboard: event files; mlflow: a database; "
        "wandb: offline runs; ioh: records for IOHanalyzer; benchopt: a suite as a benchmark folder"
    )
    export.add_argument("format", choices=FORMATS, metavar="FORMAT", help=formats)
    export.add_argument("what", metavar="WHAT", help="a results folder; for benchopt a suite")
    export.add_argument("--out", required=True, metavar="DIR", help="a new folder")

    read = _command(commands, "import", "read what was run elsewhere into a results folder", IMPORT_EXAMPLES)
    read.add_argument("what", metavar="WHAT", help="IOHprofiler's folder, benchopt's .parquet, a table of curves")
    read.add_argument("--out", required=True, metavar="DIR", help="a new results folder")


def _add_archive(commands: Any) -> None:
    archive = _command(commands, "archive", "keep results where others compare with them", ARCHIVE_EXAMPLES)
    actions = archive.add_subparsers(required=True, dest="action", metavar="action")
    add = _command(actions, "add", "pack a results folder as a submission")
    add.add_argument("folder", metavar="DIR", help="a complete results folder")
    add.add_argument("--to", required=True, metavar="ARCHIVE", help="a folder of submissions; made if need be")
    add.add_argument("--name", required=True, metavar="N", help="letters, digits, '.', '_' and '-'")
    add.add_argument("--author", default="", metavar="TEXT")
    add.add_argument("--note", default="", metavar="TEXT", help="what a reader should know")
    add.add_argument("--mixed", action="store_true", help="take results of several versions, marked")

    listing = _command(actions, "list", "list the submissions of an archive, each checked")
    listing.add_argument("archive", metavar="ARCHIVE")

    show = _command(actions, "show", "show what a submission is")
    show.add_argument("name", metavar="ARCHIVE/NAME", help="a submission, standard or modern")
    show.add_argument("--json", action="store_true", help="its manifest")

    verify = _command(actions, "verify", "run a sample of a submission's trials again and compare")
    verify.add_argument("name", metavar="ARCHIVE/NAME", help="a submission, standard or modern")
    verify.add_argument("--sample", type=_whole_number, default=20, metavar="K", help="trials (default: 20)")
    verify.add_argument("--seed", type=_whole_number, default=0, metavar="S", help="of the sample (default: 0)")
    verify.add_argument("--plugin", action="append", default=[], metavar="FILE", help="with its own names; repeatable")
    verify.add_argument("--trust", action="store_true", help="import whatever modules it names")
    verify.add_argument("--workers", type=_whole_number, metavar="N", help="processes (default: one a core)")
    verify.add_argument("--mark", action="store_true", help="write the outcome into its manifest")

    site = _command(actions, "site", "write an archive as web pages that any host serves")
    site.add_argument("archive", metavar="ARCHIVE")
    site.add_argument("--out", required=True, metavar="DIR", help="a new folder")
    site.add_argument(
        "--no-reports", action="store_true", help="leave out each submission's report, which takes seconds"
    )


def _names(kind: str) -> list[str]:
    from optbench.registry.listing import listing

    return [row["name"] for row in listing()[kind]]


def _topics() -> list[str]:
    from optbench.tour.topics import TOPICS

    return list(TOPICS)


def _suites() -> list[str]:
    return _names("suites")


def _completes(action: argparse.Action, names: Callable[[], list[str]]) -> None:
    """Let argcomplete offer these names for an argument."""
    action.completer = lambda **_: names()  # type: ignore[attr-defined]  # argcomplete's own convention


def _complete(whole: argparse.ArgumentParser) -> None:
    try:
        import argcomplete  # type: ignore[import-not-found,unused-ignore]
    except ImportError:  # shell completion is optional: pip install argcomplete
        return
    argcomplete.autocomplete(whole)
