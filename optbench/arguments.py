"""What all commands of `optbench.commands` share: their parser, its help and refusals, numbers, names to complete.

Standard library only, argcomplete where it is installed.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import shlex
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NoReturn

from optbench.core.trial import RequestError

EXIT_CODES = """exit codes:
  0  every planned trial has a record, and at least one succeeded
  1  no trial succeeded; with --strict: a trial failed; check: a check failed; report: a cell got worse
  2  the request was refused before anything ran, or the worker processes cannot run
  130  interrupted; the same command goes on
"""


class Parser(argparse.ArgumentParser):
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


def whole_number(text: str) -> int:
    """A whole number, as argparse wants its refusal."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def lone_runs(text: str) -> int:
    """A number of lone runs, 0 for "none"."""
    return 0 if text == "none" else whole_number(text)


def lane_count(text: str) -> int | None:
    """A number of lanes, or None for "auto"."""
    return None if text == "auto" else whole_number(text)


Command = Callable[[argparse.Namespace, list[str]], int]  # its options and its words as they were typed -> exit code


def command(commands: Any, name: str, summary: str, carry_out: Command | None, epilog: str = "") -> Parser:
    """Add a command to those of a parser.

    carry_out: does it, and is `options.carry_out` then; None where commands of its own do.
    """
    added: Parser = commands.add_parser(
        name,
        help=summary,
        description=summary.capitalize() + ".",
        epilog=f"{epilog}\n{EXIT_CODES}" if epilog else EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if carry_out:
        added.set_defaults(carry_out=carry_out)
    return added


def typed(words: Sequence[str]) -> str:
    """A command as a user would type it again."""
    return shlex.join(["python", "-m", "optbench", *words])


def expect_to_train() -> None:
    """Raises RequestError or FileNotFoundError where torch's libraries would end, or fail with words of their own.

    Its compiler is loaded by the first optimizer and needs a folder for temporary files; some need a working directory.
    """
    import tempfile

    try:
        os.getcwd()
    except FileNotFoundError:
        raise RequestError("the working directory has been removed; change to another one") from None
    tempfile.gettempdir()


def names(kind: str) -> list[str]:
    """Of "problems", "optimizers" or "suites"."""
    from optbench.registry.listing import listing

    return [row["name"] for row in listing()[kind]]


def completes(action: argparse.Action, names: Callable[[], list[str]]) -> None:
    """Let argcomplete offer these names for an argument."""
    action.completer = lambda **_: names()  # type: ignore[attr-defined]  # argcomplete's own convention
