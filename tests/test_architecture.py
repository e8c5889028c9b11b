"""Imports point down, module by module; the report never imports torch, and `list` answers without it."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import optbench
from optbench import problems

ROOT, PROBLEMS = Path(optbench.__file__).parent, Path(problems.__file__).parent

# What a package may import from, besides itself. A name with a dot is one module of a package.
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "records": {"core"},
    "engine": {"core"},
    "problems": {"core"},
    "own": {"core"},
    "optimizers": {"core"},
    "registry": {"core", "problems", "optimizers"},
    "execution": {"core", "records", "engine", "registry", "problems", "optimizers"},
    "testing": {"core", "records", "engine", "registry", "problems", "optimizers", "execution"},
    "report": {"core.trial", "records"},
    "watch": {"core", "engine", "registry", "execution", "problems", "optimizers", "report"},
    "search": {"core", "records", "registry", "optimizers", "execution", "report"},
    "archive": {"core", "records", "engine", "registry", "problems", "optimizers", "execution", "report"},
    "tour": {"core", "engine", "registry", "execution", "problems", "optimizers", "report", "watch"},
    "bridges": {"core", "records", "engine", "registry", "problems", "optimizers", "execution", "report"},
}
TOP = {
    "__init__",
    "__main__",
    "api",
    "arguments",
    "cli",
    "commands",
}  # they bind all together, and import lazily


@cache
def modules() -> dict[str, Path]:
    """{dotted name below optbench: its file}."""
    found = {}
    for root, prefix in ((ROOT, ()), (PROBLEMS, ("problems",))):
        for path in sorted(root.rglob("*.py")):
            parts = (*prefix, *path.relative_to(root).with_suffix("").parts)
            name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
            found[name] = path
    return found


@cache
def imports(name: str) -> frozenset[str]:
    """The modules below optbench that a module imports anywhere in its text, itself and its package aside."""
    path, known, found = modules()[name], modules(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            one_by_one = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [full if full.removeprefix("optbench.") in known else node.module for full in one_by_one]
        found |= {full.removeprefix("optbench.") for full in names if full.startswith("optbench.")}
    return frozenset(found & known.keys() - {name})


@pytest.mark.parametrize("name", sorted(modules()))
def test_a_package_imports_only_from_below(name: str) -> None:
    package = name.split(".")[0]
    if package in TOP:
        return
    assert package in MAY_IMPORT, f"{name} is in no package of MAY_IMPORT: say where it belongs"
    for imported in imports(name):
        head = imported.split(".")[0]
        allowed = head == package or head in MAY_IMPORT[package] or imported in MAY_IMPORT[package]
        assert allowed, f"{name} imports {imported}, which is not below it"


def test_no_module_imports_itself_through_others() -> None:
    """Every module has a level above all that it imports: within packages too, and between figures and sections."""
    level: dict[str, int] = {}
    under_way: list[str] = []

    def visit(name: str) -> int:
        if name in under_way:
            pytest.fail("a cycle of imports: " + " -> ".join([*under_way[under_way.index(name) :], name]))
        if name not in level:
            under_way.append(name)
            level[name] = 1 + max((visit(other) for other in imports(name)), default=-1)
            under_way.pop()
        return level[name]

    for name in modules():
        visit(name)


def test_every_package_is_installed() -> None:
    import tomllib

    project = ROOT.parent / "pyproject.toml"
    listed = set(tomllib.loads(project.read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"])
    folders = {f"optbench.{name}" for name, path in modules().items() if path.name == "__init__.py"}
    data = {"optbench.references.standard", "optbench.references.modern"}  # no code
    assert listed == {"optbench", *folders, *data} - {"optbench.__init__"}


def test_report_never_imports_torch() -> None:
    code = "import sys, optbench.report.build, optbench.records.reader; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_list_never_imports_torch() -> None:
    code = (
        "import sys, optbench.cli as m; m.main(['list']); m.main(['list', '--json']);"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_class_of_more_than_ten_public_methods_says_why() -> None:
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                functions = [item.name for item in node.body if isinstance(item, ast.FunctionDef)]
                public = [function for function in functions if not function.startswith("_")]
                reason = "more than ten" in " ".join((ast.get_docstring(node) or "").lower().split())
                assert len(public) <= 10 or reason, f"{name}.{node.name} has {len(public)} public methods and no reason"
