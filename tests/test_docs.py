"""What the documentation says is true of the tree: links, paths, commands, suites, the table of packages."""

from __future__ import annotations

import ast
import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import site_pages
from test_architecture import MAY_IMPORT

from optbench.cli import parser
from optbench.core.trial import RequestError
from optbench.execution.suite import read_suite
from optbench.optimizers import OPTIMIZERS
from optbench.problems import PROBLEMS
from optbench.testing.conformance import check
from optbench.tour.topics import TOPICS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
ROOT_PAGES = ("README.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "SECURITY.md", "results/README.md")
PAGES = [ROOT / name for name in ROOT_PAGES] + sorted(DOCS.rglob("*.md"))
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
RETIRED = ("door", "doors", "deaf", "mute", "misfit", "misfits", "anatomy")  # of these, no other meaning is used


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The fenced code of one language, indentation removed."""
    return [textwrap.dedent(code) for code in re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)]


def prose(text: str) -> str:
    """A page without its fenced code."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def commands(text: str) -> Iterator[str]:
    """Every shell command of a page: in fenced and indented blocks, and in inline code; continued lines joined."""
    lines = [line for code in blocks(text, "sh") for line in code.replace("\\\n", " ").splitlines()]
    lines += [line.strip() for line in prose(text).splitlines() if line.startswith("    ")]
    lines += re.findall(r"`([^`\n]+)`", prose(text).replace("\n", " "))
    for line in lines:
        yield from (part.strip() for part in line.split("&&"))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    heads = re.findall(r"^#+ (.+)$", prose(page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("name", NAMES)
def test_relative_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    for link in LINK.findall(prose(read(name))):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if DOCS in target.parents and str(target.relative_to(DOCS)) in site_pages.GENERATED:
            continue
        assert target.exists(), f"{name} links to {link}"
        if anchor:
            assert anchor in anchors(target), f"{name} links to {link}, which has no such heading"


@pytest.mark.parametrize("name", NAMES)
def test_every_optbench_command_is_accepted(name: str) -> None:
    for command in filter(re.compile(r"\boptbench\b").search, commands(read(name))):
        words = shlex.split(command.replace("...", " "), comments=True)
        while words and re.fullmatch(r"\w+=\S*|time", words[0]):
            words = words[1:]
        if words[:3] == ["python", "-m", "optbench"]:
            words = words[3:]
        elif words[:1] == ["optbench"] and len(words) > 1:
            words = words[1:]
        else:
            continue
        if not words:
            continue
        try:
            options = vars(parser().parse_args(words))
        except (RequestError, SystemExit) as error:
            pytest.fail(f"{name} has `{command}`: {error}")
        for kind, table in (("problem", PROBLEMS), ("optimizer", OPTIMIZERS)):
            named = options.get(kind) or []
            for spec in [named] if isinstance(named, str) else named:
                known = spec.split("[")[0] in table or ":" in spec or options["plugin"]
                assert known, f"{name} has `{command}`, and there is no {kind} {spec}"


@pytest.mark.parametrize("name", NAMES)
def test_every_script_and_test_that_a_command_names_exists(name: str) -> None:
    for command in commands(read(name)):
        if "python" in command or command.startswith("pytest"):
            for path in re.findall(r"(?:scripts|tests)/[\w/.]+\.py", command):
                assert (ROOT / path).is_file(), f"{name} has `{command}`"


@pytest.mark.parametrize("name", NAMES)
def test_every_path_of_this_tree_exists(name: str) -> None:
    for code in re.findall(r"`([^`\n]+)`", prose(read(name))):
        if re.fullmatch(r"(optbench|problems|tests|scripts|docs|\.ci|\.github)/[\w/.\-]*", code):
            assert (ROOT / code).exists(), f"{name} names {code}"


def test_where_would_i_put_has_ten_answers_of_one_or_two_files() -> None:
    rows = [line for line in read("docs/where.md").splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 10
    for row in rows:
        _, what, first, more, _ = row.split("|")
        paths = [code for code in re.findall(r"`([^`]+)`", first + more) if "/" in code or "." in code]
        assert paths, f"{what.strip()}: no file"
        for path in paths:
            assert (ROOT / path).exists(), f"{what.strip()}: {path} is not there"


def test_the_architecture_names_every_package() -> None:
    text = read("docs/design.md")
    for package in sorted(ROOT.glob("optbench/*/__init__.py")):
        assert f"`optbench/{package.parent.name}/`" in text, f"docs/design.md does not name {package.parent.name}"


def test_the_table_of_packages_is_in_the_order_of_their_imports() -> None:
    rows = re.findall(r"^\| `(?:optbench/)?(\w+)/` \|", read("docs/design.md"), re.MULTILINE)
    for package, below in MAY_IMPORT.items():
        for name in {other.split(".")[0] for other in below}:
            assert rows.index(name) < rows.index(package), f"{package} imports {name}, which the table has after it"


def test_every_decision_is_in_the_index() -> None:
    listed = re.findall(r"^\| \[(.+?)\]\((\w+\.md)\)", read("docs/decisions/index.md"), re.MULTILINE)
    pages = {path.name: path.read_text(encoding="utf-8") for path in (DOCS / "decisions").glob("*.md")}
    assert {name for _, name in listed} == pages.keys() - {"index.md"}
    for title, name in listed:
        assert pages[name].startswith(f"# {title}\n"), f"{name} has another title in the index"
        assert "\n## Context\n" in pages[name] and "\n## Decision\n" in pages[name], name


@pytest.mark.parametrize("name", NAMES)
def test_python_in_the_documentation_is_python(name: str) -> None:
    for code in blocks(read(name), "python"):
        ast.parse(code)


@pytest.mark.parametrize("name", NAMES)
def test_suites_in_the_documentation_are_suites(name: str, tmp_path: Path) -> None:
    for code in blocks(read(name), "toml"):
        if code.lstrip().startswith("["):  # of a pyproject.toml
            continue
        path = tmp_path / "documented.toml"
        path.write_text(code, encoding="utf-8")
        assert read_suite(str(path)).problems


@pytest.mark.parametrize("name", NAMES)
def test_no_retired_word_is_used(name: str) -> None:
    found = set(re.findall(r"[a-z]+", prose(read(name)).lower())) & set(RETIRED)
    assert not found


def test_every_option_is_on_the_page_of_the_command_line() -> None:
    page = site_pages.command_line()
    for name, (_, sub) in site_pages.subcommands(parser()).items():
        assert f"\n## {name}\n" in page
        for option in set(re.findall(r"--[a-z][\w-]*", sub.format_help())) - {"--help"}:
            assert option in page


def test_the_optimizer_of_the_documentation_passes_its_check(tmp_path: Path) -> None:
    pages = ("README.md", "docs/howto/optimizer.md")
    code, again = (next(code for code in blocks(read(page), "python") if "class MyMethod" in code) for page in pages)
    assert again.replace('# the oracle: "value", "grad" or "exact"', '# or "grad"') == code
    file = tmp_path / "documented_method.py"
    imports = "from dataclasses import dataclass\nfrom typing import ClassVar\n\nimport torch\n\n\n"
    file.write_text(imports + code, encoding="utf-8")
    wrong = [finding for finding in check(str(file)) if not finding.ok]
    assert not wrong


def test_the_gallery_shows_every_topic_of_the_tour() -> None:
    import make_gallery

    assert make_gallery.gallery() in read("docs/tour.md")
    pictures = {path.stem: path.stat().st_size for path in (DOCS / "figures" / "tour").glob("*.webp")}
    assert pictures.keys() == set(TOPICS) and sum(pictures.values()) < 1_500_000
