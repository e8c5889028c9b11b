"""`watch` and `tour`: optimizers as pictures that move."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import sys
from pathlib import Path
from typing import Any

from optbench.arguments import command, completes, expect_to_train, names, typed, whole_number
from optbench.core.trial import RequestError

WATCHED = ("adam", "pso", "aco_r", "sep_cma_es")  # what `watch` shows where no optimizer is named
WATCH_EXAMPLES = """examples:
  optbench watch rosenbrock_2d --optimizer adam --optimizer pso --optimizer aco_r --optimizer cma_es
  optbench watch mlp_digits --optimizer sgd --optimizer adam --passes 20 --out digits.html --film digits.gif
"""
TOUR_EXAMPLES = """examples:
  optbench tour                                          all topics, in five minutes, in the folder tour/
  optbench tour --topic learning_rates --topic batches   pages of two, beside those that are there
  optbench tour --notebooks                              the same studies as notebooks, to be run in Jupyter
"""


def add(commands: Any) -> None:
    watch = command(commands, "watch", "show optimizers at work as a picture that moves", _watch, WATCH_EXAMPLES)
    problem = watch.add_argument("problem", help="a test function or a network, such as rosenbrock_2d or mlp_digits")
    optimizer = watch.add_argument(
        "--optimizer",
        action="append",
        default=[],
        metavar="O",
        help="repeatable (default: adam, pso, aco_r and sep_cma_es)",
    )
    watch.add_argument("--passes", type=float, metavar="N", help="budget (default: the problem's own)")
    watch.add_argument("--seed", type=whole_number, default=0, metavar="N", help="of every run (default: 0)")
    watch.add_argument("--out", metavar="FILE", help="the page (default: <problem>.html)")
    watch.add_argument("--film", metavar="FILE", help="also a .gif, or an .mp4 where ffmpeg is installed")
    watch.add_argument("--plugin", action="append", default=[], metavar="FILE", help="a file with your own; repeatable")
    completes(problem, lambda: names("problems"))
    completes(optimizer, lambda: names("optimizers"))

    tour = command(commands, "tour", "write the lecture as a book of pictures that run", _tour, TOUR_EXAMPLES)
    topics = tour.add_argument(
        "--topic", action="append", default=[], metavar="NAME", help="repeatable (default: all, see docs/tour.md)"
    )
    tour.add_argument("--out", default="tour", metavar="DIR", help="the folder (default: tour)")
    tour.add_argument("--notebooks", action="store_true", help="write notebooks of the studies, and run nothing")
    completes(topics, _topics)


def _watch(options: argparse.Namespace, given: list[str]) -> int:
    expect_to_train()
    from optbench.registry.catalog import Catalog
    from optbench.watch.film import check_film, film
    from optbench.watch.page import html
    from optbench.watch.recording import record
    from optbench.watch.scene import scene

    if options.film:
        check_film(Path(options.film))
    name = re.sub(r"[^A-Za-z0-9]+", "_", options.problem.rpartition(":")[2]).strip("_")
    out = Path(options.out or f"{name}.html")
    catalog = Catalog(options.plugin)
    runs = record(options.problem, options.optimizer or WATCHED, options.passes, options.seed, catalog)
    seen = scene(catalog.problem(options.problem), options.problem, runs)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(html(seen, typed(given)), encoding="utf-8")
        if options.film:
            film(seen, Path(options.film))
    except OSError as error:
        raise RequestError(f"cannot write {error.filename or out}: {error.strerror}") from None
    print(f"watch: {out}" + (f" and {options.film}" if options.film else ""))
    return 0


def _tour(options: argparse.Namespace, given: list[str]) -> int:
    expect_to_train()
    from optbench.tour.book import write, write_notebooks

    if options.notebooks:
        files = write_notebooks(Path(options.out), options.topic)
        print(f"tour: {len(files)} notebooks in {files[0].parent}")
        return 0
    with contextlib.redirect_stdout(io.StringIO()):  # what the studies print is for their reader, in a notebook
        index = write(
            Path(options.out),
            options.topic,
            typed(given),
            lambda line: print(line, file=sys.stderr, flush=True),
        )
    print(f"tour: {index}")
    return 0


def _topics() -> list[str]:
    from optbench.tour.topics import TOPICS

    return list(TOPICS)
