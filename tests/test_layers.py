"""Imports point down only, the report never imports torch, and `list` answers without it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import optbench
from optbench import problems

ROOT = Path(optbench.__file__).parent
PROBLEMS = Path(problems.__file__).parent

# Every module, lowest first; modules in one row do not import each other. A module may import from rows above its own.
ORDER = [
    ["trial", "stats"],
    ["specs"],
    ["problem", "layers", "results", "buffers", "draws", "graphs", "channels"],
    ["tracing"],
    ["problems", "population"],
    ["gradients"],
    ["network"],
    ["scoring"],
    ["objective"],
    ["optimizers"],
    ["settings"],
    ["plugins", "catalog", "host"],
    ["tune"],
    ["plan", "run", "progress"],
    ["lanes", "memory"],
    ["optimizer_checks"],
    ["problem_checks"],
    ["sweep", "store", "testing", "templates"],
    ["experiment", "report"],
    ["command"],
    ["__init__", "__main__"],
]
LEVEL = {name: level for level, row in enumerate(ORDER) for name in row}
PAIRS = {("objective", "population"), ("network", "population")}  # rows that may look sideways


def modules() -> list[tuple[str, Path]]:
    found = [(path.relative_to(ROOT).with_suffix("").as_posix(), path) for path in sorted(ROOT.rglob("*.py"))]
    return found + [(f"problems/{path.stem}", path) for path in sorted(PROBLEMS.glob("*.py"))]


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda item: item if isinstance(item, str) else "")
def test_imports_point_down(name: str, path: Path) -> None:
    top = name.split("/")[0]
    assert top in LEVEL, f"{name} is in no row of ORDER: say where it belongs"
    if top in ("__init__", "__main__", "command"):
        return  # these bind everything together, lazily
    for imported in imports(path):
        parts = imported.split(".")
        if parts[0] != "optbench" or len(parts) < 2 or parts[1] not in LEVEL:
            continue
        other = parts[1]
        sideways = other == top or (top, other) in PAIRS
        assert sideways or LEVEL[other] < LEVEL[top], f"{name} imports {imported}, which is not below it"


def test_problems_import_only_what_a_plugin_may() -> None:
    allowed = ("optbench.problem", "optbench.layers", "optbench.problems")
    for name, path in modules():
        if name.startswith("problems/"):
            for imported in imports(path):
                assert not imported.startswith("optbench.") or imported.startswith(allowed), f"{name}: {imported}"


def test_report_never_imports_torch() -> None:
    code = "import sys, optbench.report, optbench.results, optbench.stats; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_list_never_imports_torch() -> None:
    code = (
        "import sys, optbench.__main__ as m; m.main(['list']); m.main(['list', '--json']);"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
