"""Pages of the documentation site that are made from the code: a hook of mkdocs (see mkdocs.yml), never run alone.

cli.md comes from the argument parser, optimizers.md from the tables of optimizers and suites, api/modules.md from the
packages, changelog.md and contributing.md from the files at the root of the repository. The pages of the tour come from
the folder tour/ at the root, where `python -m optbench tour` has written it; else small studies are run for them.
"""

from __future__ import annotations

import argparse
import ast
import atexit
import contextlib
import io
import os
import re
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from optbench.arguments import EXIT_CODES
from optbench.cli import parser
from optbench.optimizers import OPTIMIZERS
from optbench.tour.topics import TOPICS

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "optbench"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put every decision into the navigation, in the order of their table."""
    table = (ROOT / "docs" / "decisions" / "index.md").read_text(encoding="utf-8")
    pages = [f"decisions/{name}" for name in re.findall(r"^\| \[.*?\]\((\w+\.md)\)", table, re.MULTILINE)]
    assert config.nav
    config.nav.append({"Decisions": ["decisions/index.md", *pages]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, where mkdocs looks for pages."""
    from mkdocs.structure.files import File

    for name, make in GENERATED.items():
        files.append(File.generated(config, name, content=make()))
    return files


def subcommands(of: argparse.ArgumentParser) -> dict[str, tuple[str, argparse.ArgumentParser]]:
    """{name: (its help, its parser)}, in the order of the command line."""
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            return {name: (helps.get(name, ""), parser) for name, parser in action.choices.items()}
    return {}


def command_line() -> str:
    """cli.md: a section a subcommand, with its usage, its arguments, and whatever text the parser carries."""
    os.environ["COLUMNS"] = "100"  # the same lines in every terminal
    whole = parser()
    lines = ["# The command line", "", "Made from the argument parser when the site is built.", ""]
    lines += [whole.description or "", ""]
    own = [action for action in whole._actions if action.option_strings and action.dest != "help"]
    if own:
        lines += _table(own)
    lines += _epilog(whole)
    for name, (summary, sub) in subcommands(whole).items():
        lines += [f"## {name}", "", f"{summary[:1].upper()}{summary[1:]}.", ""]
        if sub.description and sub.description.strip(". ").lower() != summary.lower():
            lines += [sub.description, ""]
        lines += ["```text", sub.format_usage().removeprefix("usage: ").rstrip(), "```", ""]
        lines += _table([action for action in sub._actions if action.dest != "help"])
        lines += _epilog(sub)
    return "\n".join(lines)


def _table(actions: list[argparse.Action]) -> list[str]:
    """A row an argument: how it is written, and what it means."""
    lines = ["| argument | meaning |", "|---|---|"]
    for action in actions:
        choices = [str(choice) for choice in action.choices or ()]
        value = action.metavar if isinstance(action.metavar, str) else " or ".join(choices)
        names = ", ".join(action.option_strings) or value or action.dest
        takes_value = bool(action.option_strings) and bool(value) and action.nargs != 0
        meaning = (action.help or "").replace("%%", "%").replace("<", "&lt;")
        if action.default not in (None, False, 0, [], argparse.SUPPRESS) and "default" not in meaning:
            meaning += f" (default: {action.default})"
        cells = f"`{names} {value}`" if takes_value else f"`{names}`", meaning.strip()
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return [*lines, ""]


def _epilog(of: argparse.ArgumentParser) -> list[str]:
    text = (
        (of.epilog or "").strip("\n")
        if of.prog.count(" ") < 3
        else (of.epilog or "").replace(EXIT_CODES, "").strip("\n")
    )
    return ["```text", text, "```", ""] if text else []


def optimizers() -> str:
    """optimizers.md: every entry of the table of optimizers, and the built-in suites."""
    lines = ["# Optimizers and suites", "", "Made from the tables when the site is built. `python -m optbench list`"]
    lines += ["prints the same. Any other `torch.optim.Optimizer` runs by import path, as in `torch.optim:NAdam`.", ""]
    lines += ["| name | family | what it is | settings here | search space |", "|---|---|---|---|---|"]
    for name, entry in OPTIMIZERS.items():
        settings = ", ".join(f"{key}={value}" for key, value in entry.settings.items())
        space = "; ".join(f"{key}: {_range(values)}" for key, values in entry.space.items())
        extra = f" (needs the package `{entry.extra}`)" if entry.extra else ""
        lines.append(f"| `{name}` | {entry.family} | {entry.summary}{extra} | {settings} | {space} |")
    lines += ["", "A search space is what `tune = N` and `--tune N` draw from. An optimizer without one runs as it is."]
    lines += ["", "## Suites", "", "| suite | what it is | problems | optimizers | seeds | settings tried |"]
    lines += ["|---|---|---:|---:|---:|---:|"]
    for path in sorted((PACKAGE / "suites").glob("*.toml")):
        suite = tomllib.loads(path.read_text(encoding="utf-8"))
        counts = len(suite["problems"]), len(suite["optimizers"]), suite.get("seeds", 5), suite.get("tune", 0) or "-"
        cells = " | ".join(str(count) for count in counts)
        lines.append(f"| `{path.stem}` | {suite.get('description', '')} | {cells} |")
    return "\n".join([*lines, ""])


def _range(values: tuple[object, ...]) -> str:
    if len(values) == 3 and values[2] in ("log", "linear"):
        return f"{values[0]:g} to {values[1]:g}, {values[2]}"
    return " or ".join(map(str, values))


def modules() -> str:
    """api/modules.md: the public classes and functions of every module, by package, but those of api/index.md."""
    index = (ROOT / "docs" / "api" / "index.md").read_text(encoding="utf-8")
    elsewhere = re.findall(r"^::: (\S+)", index, re.MULTILINE)  # a name has one place, so that links are unambiguous
    lines = [
        "# Modules",
        "",
        "The public classes and functions of every module, package by package. Those that authors",
    ]
    lines += ["and scripts use are in [The Python API](index.md).", ""]
    for package, paths in packages():
        lines += [f"## {package}", ""]
        for path in paths:
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            there = any(name in (other, other.rpartition(".")[0]) for other in elsewhere)
            if not there and (path.name != "__init__.py" or _has_code(path)):
                lines += [f"::: {name}", "    options:", "      heading_level: 3", ""]
    return "\n".join(lines)


def packages() -> Iterator[tuple[str, list[Path]]]:
    """(dotted name, its modules) of every package below optbench, sorted."""
    for init in sorted(PACKAGE.rglob("__init__.py")):
        if init.parent != PACKAGE:
            yield ".".join(init.parent.relative_to(ROOT).parts), sorted(init.parent.glob("*.py"))


def _has_code(path: Path) -> bool:
    return len(ast.parse(path.read_text(encoding="utf-8")).body) > 1


def _at_root(name: str) -> str:
    """A file of the repository's root as a page: its links into docs/ become links within the site."""
    return (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")


@cache
def tour_folder() -> Path:
    """Where the pages of the tour are: all of the command's, or small ones, made once a process."""
    whole = ROOT / "tour"
    if all((whole / f"{name}.html").is_file() for name in ("index", *TOPICS)):
        return whole
    from optbench.tour.book import write

    small = Path(tempfile.mkdtemp(prefix="optbench-tour-"))
    atexit.register(shutil.rmtree, small, ignore_errors=True)
    with contextlib.redirect_stdout(io.StringIO()):
        write(small, (), "python -m optbench tour", lambda line: None, quick=True)
    return small


def tour_page(name: str) -> str:
    """tour/NAME.html: a page of the tour, as it stands."""
    return (tour_folder() / f"{name}.html").read_text(encoding="utf-8")


GENERATED: dict[str, Callable[[], str]] = {
    "cli.md": command_line,
    "optimizers.md": optimizers,
    "api/modules.md": modules,
    "changelog.md": partial(_at_root, "CHANGELOG.md"),
    "contributing.md": partial(_at_root, "CONTRIBUTING.md"),
    **{f"tour/{name}.html": partial(tour_page, name) for name in ("index", *TOPICS)},
}
