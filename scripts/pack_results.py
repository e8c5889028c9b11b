"""Pack a results folder for keeping: its records at a tenth of their size, and the pictures of the README.

    python scripts/pack_results.py results/standard results/reference

How records are packed is in `optbench/records/packing.py`. The folder gets a manifest, so it is a submission of the
archive that it stands in. The rest is made again by `python -m optbench report results/reference`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from headline_table import headline

from optbench.archive.submissions import described
from optbench.core.trial import RequestError
from optbench.records.manifest import seal
from optbench.records.packing import pack
from optbench.report import draw

PICTURES = ("scores.png", "summary.png", "ranks.png")  # what README.md shows


def keep(folder: Path, out: Path) -> None:
    """Write the packed folder, its manifest, its headline table and the pictures."""
    records, facts = pack(folder, out)
    seal(out, described(out.name, records, facts, author="the optbench maintainers"))
    headline(out).to_csv(out / "headline.csv", index=False, float_format="%.6g", lineterminator="\n")
    (out / "figures").mkdir(exist_ok=True)
    with TemporaryDirectory() as scratch:
        draw([out], [name.removesuffix(".png") for name in PICTURES], Path(scratch))
        for name in PICTURES:
            drawn = Path(scratch) / "figures" / name  # few optimizers or problems have no diagram of ranks
            if drawn.exists():
                shutil.copy(drawn, out / "figures" / name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a complete results folder")
    parser.add_argument("out", type=Path, help="where the packed folder goes")
    given = parser.parse_args()
    try:
        keep(given.folder, given.out)
    except RequestError as error:
        sys.exit(str(error))
