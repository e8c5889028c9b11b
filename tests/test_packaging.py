"""What pyproject.toml says of the package is true: dependencies, extras, data files."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
# Import names that differ from the name of the distribution.
DISTRIBUTION = {
    "PIL": "pillow",
    "cocoex": "coco-experiment",
    "mlflow": "mlflow-skinny",
    "pynvml": "nvidia-ml-py",
    "sklearn": "scikit-learn",
}
FOR_DEVELOPERS = {"docs", "test"}  # extras that the package itself may not rely on


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def names(requirements: list[str]) -> set[str]:
    """Distribution names of requirement strings, normalised."""
    return {re.split(r"[\s\[<>=!~;]", text, maxsplit=1)[0].lower().replace("_", "-") for text in requirements}


def third_party(folder: str) -> Iterator[tuple[str, str]]:
    """(distribution, file) of every import below a folder that is neither ours nor the standard library's."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules: list[str] = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules = [node.module]
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                modules = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            for module in modules:
                top = module.split(".")[0]
                if top not in sys.stdlib_module_names and top != "optbench":
                    yield DISTRIBUTION.get(top, top.lower().replace("_", "-")), str(path.relative_to(ROOT))


@pytest.mark.parametrize("folder", ["optbench", "problems"])
def test_every_third_party_import_is_declared(folder: str, project: dict[str, Any]) -> None:
    declared = names(project["dependencies"])
    for extra, requirements in project["optional-dependencies"].items():
        if extra not in FOR_DEVELOPERS:
            declared |= names(requirements)
    undeclared = sorted({pair for pair in third_party(folder) if pair[0] not in declared})
    assert undeclared == []


def test_every_dependency_is_used(project: dict[str, Any]) -> None:
    used = {distribution for folder in ("optbench", "problems") for distribution, _ in third_party(folder)}
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "optbench").rglob("*.py"))
    unused = {name for name in names(project["dependencies"]) - used if f'"{name}"' not in text}
    assert unused == set()


def test_types_and_data_are_packaged() -> None:
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    data = whole["tool"]["setuptools"]["package-data"]
    assert "py.typed" in data["optbench"] and (ROOT / "optbench" / "py.typed").is_file()
    kept = whole["tool"]["setuptools"]["package-dir"]
    for package, patterns in data.items():
        folder = ROOT / kept.get(package, package.replace(".", "/"))
        for pattern in patterns:
            assert list(folder.glob(pattern)), f"{package}: nothing matches {pattern}"
