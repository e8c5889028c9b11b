# PYTHON_ARGCOMPLETE_OK
"""The command line: finds a command in `optbench.commands`, carries it out, and says in one line why it is refused."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import os
import sys
from collections.abc import Sequence

from optbench.arguments import EXIT_CODES, Parser
from optbench.commands import archive, bridges, data, pictures, plugins, results, run
from optbench.core.trial import MachineError, RequestError
from optbench.execution.start import usable_torch_cache

FILES = (run, results, plugins, data, pictures, bridges, archive)  # in the order of the help
# as torch and the system, the loader, C++ and Python's threads say it
NO_MEMORY = ("allocate memory", "failed to map segment", "bad_alloc", "can't start new thread")


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; `command` is the one that was given. Completes in a shell through argcomplete."""
    whole = Parser(
        prog="python -m optbench",
        description="Compare optimizers on torch networks.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    version = f"optbench {importlib.metadata.version('optbench')}"
    whole.add_argument("--version", action="version", version=version)
    commands = whole.add_subparsers(required=True, dest="command", metavar="command")
    for file in FILES:
        file.add(commands)
    Parser.known.update(dict.fromkeys(commands.choices))
    _complete(whole)
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    0 done; 1 no trial succeeded, a trial failed under --strict, or a check failed; 2 a bad request, or workers that
    cannot run. Ctrl-C raises KeyboardInterrupt; `optbench.__main__` makes exit code 130 of it.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = parser().parse_args(given)
        if other := usable_torch_cache():
            print(f"optbench: {other}", file=sys.stderr)
        code: int = options.carry_out(options, given)
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


def _complete(whole: argparse.ArgumentParser) -> None:
    try:
        import argcomplete  # type: ignore[import-not-found,unused-ignore]
    except ImportError:  # shell completion is optional: pip install argcomplete
        return
    argcomplete.autocomplete(whole)


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
    return isinstance(error, MemoryError) or any(said in str(error) for said in NO_MEMORY)
