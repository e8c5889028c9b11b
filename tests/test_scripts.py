"""Every script says how it is called, and finds the modules that it imports."""

from __future__ import annotations

import importlib
import runpy
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
HOOKS = {"site_pages", "drawn"}  # mkdocs loads the one, other scripts the other; neither is run by itself

PHASES = Path(__file__).parent / "benchmarks" / "phases" / "sitecustomize.py"


def test_every_phase_that_the_benchmark_times_is_a_function() -> None:
    for module, functions in runpy.run_path(str(PHASES))["PHASES"].items():
        for place in functions:
            owner: object = importlib.import_module(module)
            for name in place.split("."):
                owner = getattr(owner, name)
            assert callable(owner)


@pytest.mark.parametrize("name", sorted(path.stem for path in SCRIPTS.glob("*.py") if path.stem not in HOOKS))
def test_a_script_explains_itself(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPTS / f"{name}.py"), run_name="__main__")
    assert ended.value.code == 0
    assert f"python scripts/{name}.py" in capsys.readouterr().out
