"""What the scripts share that draw a figure of the documentation."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd


def table(about: str | None, suite: str, data: Path, from_records: Callable[[str], pd.DataFrame], digits: int) -> Any:
    """The committed table, made anew first where the command line names the results of the suite."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help=f"results of the suite `{suite}` (default: draw the committed table)")
    given = parser.parse_args()
    if given.folder:
        made = from_records(given.folder)
        made.to_csv(data, index=False, float_format=f"%.{digits}g", lineterminator="\n")
    return pd.read_csv(data)


def save(figure: Any, path: Path, dpi: int = 110) -> None:
    """As .svg and .png, the same bytes from the same data."""
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path.with_suffix(".svg"), dpi=dpi, metadata={"Date": None})
    figure.savefig(path.with_suffix(".png"), dpi=dpi, metadata={"Software": None})
