"""The notebook of the documentation runs as it stands, and shows what it is kept with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

for package in ("nbclient", "ipykernel"):
    pytest.importorskip(package, reason="needs nbclient and ipykernel: pip install 'optbench[test]'")

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "notebooks" / "own_cnn.ipynb"
KINDS = ("text/html", "image/png")


def shown(notebook: Path) -> list[dict[str, Any]]:
    """What its cells give, by kind."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    outputs = [one for cell in cells for one in cell.get("outputs", [])]
    assert all(one["output_type"] in ("execute_result", "display_data") for one in outputs)  # and no error
    return [one["data"] for one in outputs]


def test_the_notebook_runs_and_shows_what_is_kept(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "run_notebook.py"), str(NOTEBOOK), "--out", str(tmp_path / "new")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    kept, new = shown(NOTEBOOK), shown(tmp_path / "new")
    assert [sorted(one) for one in new] == [sorted(one) for one in kept]
    study = "".join(new[1]["text/plain"])
    assert study.startswith("<Comparison of 5 optimizers on my_digits>") and "target at" in study
    html = "".join(new[1]["text/html"])
    assert all(name in html for name in ("adam", "sgd", "torch_nadam", "heavy_ball", "sign")) and "<img" in html
    assert any("image/png" in one for one in new)
