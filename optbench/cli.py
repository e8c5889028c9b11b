# PYTHON_ARGCOMPLETE_OK
"""The command line: what each command does. Heavy modules are imported by the commands that use them."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optbench.arguments import parser
from optbench.core.trial import FAILED, MachineError, RequestError
from optbench.execution.start import usable_torch_cache

WATCHED = ("adam", "pso", "aco_r", "sep_cma_es")  # what `watch` shows where no optimizer is named
SUCCEEDED = ("spent", "finished")  # statuses of a trial that ran to its end


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    0 done; 1 no trial succeeded, a trial failed under --strict, or a check failed; 2 a bad request, or workers that
    cannot run. Ctrl-C raises KeyboardInterrupt; `optbench.__main__` makes exit code 130 of it.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    commands = {
        "run": _run,
        "report": _report,
        "list": _list,
        "check": _check,
        "new": _new,
        "merge": _merge,
        "coco": _coco,
        "watch": _watch,
        "tour": _tour,
        "export": _export,
        "import": _import,
        "archive": _archive,
        "data": _data,
    }
    try:
        options = parser().parse_args(given)
        if other := usable_torch_cache():
            print(f"optbench: {other}", file=sys.stderr)
        code = commands[options.command](options, given)
        if sys.stdout:
            sys.stdout.flush()
        return code
    except (RequestError, MachineError) as error:
        return _refused(str(error))
    except BrokenPipeError:  # whoever reads what is printed has enough
        _print_no_more()
        return 0
    except OSError as error:  # a disk, or the file that output goes to
        return _refused(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
    except (MemoryError, ImportError, RuntimeError) as error:
        if not _is_memory(error):
            raise
        return _refused("no memory is left; what has ended is kept, the same command goes on")


def _expect_to_train() -> None:
    """Raises RequestError or FileNotFoundError where torch's libraries would end, or fail with words of their own.

    Its compiler is loaded by the first optimizer and needs a folder for temporary files; some need a working directory.
    """
    import tempfile

    try:
        os.getcwd()
    except FileNotFoundError:
        raise RequestError("the working directory has been removed; change to another one") from None
    tempfile.gettempdir()


def _refused(reason: str) -> int:
    """Exit code 2, told in one line; errors may go to a disk that is full."""
    with contextlib.suppress(OSError):
        print(f"optbench: {reason}", file=sys.stderr, flush=True)
    _print_no_more()
    return 2


def _print_no_more() -> None:
    """What is still to be printed would fail again in the interpreter's end, with a traceback."""
    for stream in (one for one in (sys.stdout, sys.stderr) if one):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
            continue
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _is_memory(error: Exception) -> bool:
    """Whether the machine had no memory, for Python, for torch or for a library that was to be loaded."""
    text = str(error)
    return isinstance(error, MemoryError) or "can't allocate memory" in text or "failed to map segment" in text


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
    with Names() as names:
        loss = options.loss or "cross-entropy"
        own = from_files(options.model, options.data, options.target, loss, options.batch, load_file)
        tasks = names.of([own])
        options.problem = [*options.problem, *tasks.specs]
        options.plugin = [*options.plugin, *tasks.files]
        return _run_named(options, given)


def _run_named(options: argparse.Namespace, given: list[str]) -> int:
    _expect_to_train()
    from optbench.execution.options import RunOptions
    from optbench.execution.request import Request, is_small
    from optbench.execution.start import start_fork_server

    how = RunOptions(
        workers=options.workers,
        lanes=options.lanes,
        device=options.device,
        pinned=options.pinned,
        cluster=options.cluster,
        cluster_wait=options.cluster_wait,
        plugins=tuple(options.plugin),
        eager=options.eager,
        isolate=options.isolate,
        retry_failed=options.retry_failed,
        add=options.add,
        own_process=True,
        command=shlex.join(["python", "-m", "optbench", *given]),
        report=True,
        verbosity=_verbosity(options),
    )
    request = Request(
        suite=options.suite,
        out=options.out,
        problems=options.problem,
        optimizers=options.optimizer,
        seeds=options.seeds,
        passes=options.passes,
        steps=options.steps,
        seconds=options.seconds,
        until=options.until,
        tune=options.tune,
        timeout=options.timeout,
        timing=options.timing,
        precision=options.precision,
        splits=options.splits,
        memory=options.memory,
        files=options.plugin,
        trust=options.trust,
        against=options.against,
    )
    suite = request.resolved_suite()
    folder = request.folder(suite)
    _say_at_once(f"{suite.name} into {folder}: loading torch and the problems ...", options)
    if options.cluster is None and not is_small(suite, most=4):
        start_fork_server()  # it imports torch while this process plans

    from optbench.execution.runner import run_suite

    try:
        records = run_suite(suite, folder, how, print if how.verbosity >= 0 else lambda line: None)
    except OSError as error:  # the folder or its disk, while a run uses it
        return _refused(f"{error.strerror or error}; what has ended is kept, the same command goes on")
    _say_at_once("writing the report ...", options)
    _write_report([folder], None, against=options.against)
    if not any(record.status in SUCCEEDED for record in records):
        why = next(
            (f": {record.optimizer} on {record.problem}: {record.error}" for record in records if record.error), ""
        )
        print(f"optbench: none of the {len(records)} trials succeeded{why}", file=sys.stderr)
        return 1
    return int(options.strict and any(record.status in FAILED for record in records))


def _say_at_once(text: str, options: argparse.Namespace) -> None:
    """What goes on, before seconds in which nothing else can be seen. On stdout: a refusal is one line on stderr."""
    if _verbosity(options) >= 0:
        print(text, flush=True)


def _verbosity(options: argparse.Namespace) -> int:
    return int(options.verbose) - int(options.quiet)


def _report(options: argparse.Namespace, given: list[str]) -> int:
    folders = [Path(name) for name in options.folder]
    view = {
        "require_common": options.require_common,
        "axis": options.axis,
        "mixed": options.mixed,
        "against": options.against,
        "scored": options.scored,
    }
    out = options.out and Path(options.out)
    if not options.figure:
        return _write_report(folders, out, **view)
    from optbench import report

    _check_folders(folders, out)
    drawn = report.draw(folders, options.figure, out, report.View(**view), options.style)
    for path in drawn:
        print(path)
    if not drawn:
        print("optbench: nothing to draw here", file=sys.stderr)
    return 0


def _check_folders(folders: list[Path], out: Path | None) -> None:
    for folder in folders:
        if not folder.is_dir():
            raise RequestError(f"{folder} is no results folder; `python -m optbench run --out {folder}` makes one")
    if out and out.exists() and not out.is_dir():
        raise RequestError(f"--out {out} is a file, not a folder to write the report into")


def _write_report(folders: list[Path], out: Path | None, **view: Any) -> int:
    """Write the report and print its verdict; 1 where a comparison found a cell that got worse.

    view: what `optbench.report.View` takes.
    """
    from optbench import report

    _check_folders(folders, out)
    written = report.write(folders, out, report.View(**view))
    for sentence in written.verdict:
        print(sentence)
    print(f"report: {written.html}")
    return int(bool(written.regressions))


def _list(options: argparse.Namespace, given: list[str]) -> int:
    from optbench.registry.listing import filtered, listing

    found = filtered(listing(), options.words, options.track, options.family)
    if options.json:
        print(json.dumps(found, indent=1))
        return 0
    for kind, rows in found.items():
        print(f"{kind}:")
        width = max((len(row["name"]) for row in rows), default=0)
        for row in rows:
            note = f"  (not installed: pip install {row['install']})" if row.get("install") else ""
            if row.get("data"):
                note = f"  (data {row['data']})" if row["data"] == "ready" else f"  (no data: {row['data']})"
            print(f"  {row['name']:<{width}}  {row['kind']:<19}  {row['summary']}{note}")
        if not rows:
            print("  none")
    return 0


def _check(options: argparse.Namespace, given: list[str]) -> int:
    _expect_to_train()
    from optbench.testing.conformance import check

    findings = check(options.target, options.plugin)
    for finding in findings:
        print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.name}" + (f": {finding.detail}" if finding.detail else ""))
    failed = sum(not finding.ok for finding in findings)
    print(f"{options.target}: {len(findings) - failed} passed, {failed} failed")
    return int(failed > 0)


def _new(options: argparse.Namespace, given: list[str]) -> int:
    from optbench.testing.scaffolds import write

    path = write(options.kind, options.name)
    print(f"wrote {path}; next:")
    print(f"  python -m optbench check {path}")
    print(f"  python -m optbench run --plugin {path} --{options.kind} {options.name} --out results/{options.name}")
    return 0


def _coco(options: argparse.Namespace, given: list[str]) -> int:
    _expect_to_train()
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


def _data(options: argparse.Namespace, given: list[str]) -> int:
    from optbench.problems import data_files
    from optbench.registry.specs import nearest

    sets, folder = data_files.DATA_SETS, data_files.folder()
    names = [options.name] if options.name else [*sets]
    for name in names:
        if name not in sets:
            raise RequestError(f"no data set {name!r}, {nearest(name, sets, '')}; there are {', '.join(sets)}")
    print(f"{data_files.VARIABLE} is {folder or 'not set: no data set is looked for'}")
    if options.download:
        if not options.name or folder is None:
            raise RequestError(
                f"--download gets one data set, by name, into the folder {data_files.VARIABLE}: set both"
            )
        try:
            data_files.download(options.name, folder, url=options.mirror)
        except (ValueError, OSError) as error:
            raise RequestError(f"{options.name}: {' '.join(str(error).split())}") from None
    for name in names:
        print(f"{name:<9} {'ready   ' if data_files.is_ready(name) else 'not here'}  {sets[name].summary}")
        if options.name:
            for layout in sets[name].layouts:
                print(f"  one of: {', '.join(layout)}")
    return 0


def _watch(options: argparse.Namespace, given: list[str]) -> int:
    _expect_to_train()
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
        out.write_text(html(seen, shlex.join(["python", "-m", "optbench", *given])), encoding="utf-8")
        if options.film:
            film(seen, Path(options.film))
    except OSError as error:
        raise RequestError(f"cannot write {error.filename or out}: {error.strerror}") from None
    print(f"watch: {out}" + (f" and {options.film}" if options.film else ""))
    return 0


def _archive(options: argparse.Namespace, given: list[str]) -> int:
    return {
        "add": _archive_add,
        "list": _archive_list,
        "show": _archive_show,
        "verify": _archive_verify,
        "site": _archive_site,
    }[options.action](options)


def _archive_add(options: argparse.Namespace) -> int:
    from optbench.archive.submissions import add

    to = Path(options.to)
    found = add(Path(options.folder), to, options.name, options.author, options.note, options.mixed)
    for mark in found["marks"]:
        print(f"marked: {mark}")
    packed = sum(one["bytes"] for one in found["files"].values())
    print(f"{found['trials']} trials in {to / found['name']}, {packed / 1e6:.1f} MB, {found['kind']}")
    print(f"next: python -m optbench archive verify {to / found['name']} --mark")
    return 0


def _archive_list(options: argparse.Namespace) -> int:
    from optbench.archive.submissions import entries, line

    found = entries(Path(options.archive))
    for entry in found:
        print(line(entry))
    if not found:
        print(f"{options.archive} has no submissions")
    return int(any(entry.manifest is None for entry in found))


def _archive_show(options: argparse.Namespace) -> int:
    from optbench.archive.submissions import find, opened, shown

    found = opened(find(options.name))
    print(json.dumps(found, indent=1) if options.json else "\n".join(shown(found)))
    return 0


def _archive_verify(options: argparse.Namespace) -> int:
    _expect_to_train()
    from optbench.archive.verifying import verify

    found = verify(
        options.name,
        options.sample,
        options.seed,
        options.plugin,
        options.trust,
        options.workers,
        lambda text: print(text, flush=True),
    )
    print("\n".join(found.sentences))
    if options.mark:
        found.mark()
    return int(not found.holds)


def _archive_site(options: argparse.Namespace) -> int:
    from optbench.archive.site import write

    print(f"site: {write(Path(options.archive), Path(options.out), not options.no_reports)}")
    return 0


def _tour(options: argparse.Namespace, given: list[str]) -> int:
    _expect_to_train()
    from optbench.tour.book import write, write_notebooks

    if options.notebooks:
        files = write_notebooks(Path(options.out), options.topic)
        print(f"tour: {len(files)} notebooks in {files[0].parent}")
        return 0
    with contextlib.redirect_stdout(io.StringIO()):  # what the studies print is for their reader, in a notebook
        index = write(
            Path(options.out),
            options.topic,
            shlex.join(["python", "-m", "optbench", *given]),
            lambda line: print(line, file=sys.stderr, flush=True),
        )
    print(f"tour: {index}")
    return 0


def _merge(options: argparse.Namespace, given: list[str]) -> int:
    from optbench.records.merge import merge

    count = merge([Path(name) for name in options.folder], Path(options.out), options.mixed)
    print(f"{count} records in {options.out}")
    return 0
