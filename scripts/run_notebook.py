"""Run a notebook from its first cell to its last, and keep what it shows.

    python scripts/run_notebook.py docs/notebooks/own_cnn.ipynb

Times and the names of temporary files are left out, so that the same results give the same file. It needs nbclient and
ipykernel, which the extra `test` brings. A cell that fails ends it with that cell's traceback.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from pathlib import Path
from typing import Any


def run(notebook: Path, out: Path, seconds: float = 300.0) -> None:
    """Run it in an empty folder, for its results are nobody's."""
    import nbformat
    from nbclient import NotebookClient

    found = nbformat.read(notebook, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            found,
            timeout=int(seconds),
            kernel_name="python3",
            record_timing=False,
            resources={"metadata": {"path": folder}},
        )
        client.execute()
    for cell in found.cells:
        cell.metadata.clear()
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr" and not _is_progress(one)]
    found.metadata.pop("language_info", None)
    out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _is_progress(output: Any) -> bool:
    """Whether it is a line that says how far a study is, which no two runs have alike."""
    text = output.get("data", {}).get("text/plain", "")
    return output.output_type == "display_data" and re.match(r"\d+/\d+ trials", text) is not None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--out", type=Path, help="another file than the notebook itself")
    given = parser.parse_args()
    run(given.notebook, given.out or given.notebook)
