"""Write the gallery of docs/tour.md and its thumbnails, from a book that `python -m optbench tour` has written.

    python -m optbench tour --out tour
    python scripts/make_gallery.py tour

The site itself shows the pages: scripts/site_pages.py takes them from tour/, or makes small ones.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from optbench.tour.book import THUMBNAILS
from optbench.tour.topic import topic
from optbench.tour.topics import TOPICS

DOCS = Path(__file__).parents[1] / "docs"
FIGURES = DOCS / "figures" / "tour"
MARK = "<!-- gallery -->\n"


def gallery() -> str:
    """The table: a row a topic, its thumbnail and its question, both leading to its page."""
    lines = ["| | |", "|---|---|"]
    for name in TOPICS:
        one = topic(name)
        shown = f"[![{one.title}](figures/tour/{name}.webp){{ width=300 }}](tour/{name}.html)"
        lines.append(f"| {shown} | **[{one.title}](tour/{name}.html)** {one.question} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Copy the thumbnails and write the table."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("book", type=Path, metavar="BOOK", help="a folder with all pages of the tour")
    book = command.parse_args().book
    FIGURES.mkdir(parents=True, exist_ok=True)
    for name in TOPICS:
        shutil.copyfile(book / THUMBNAILS / f"{name}.webp", FIGURES / f"{name}.webp")
    page = DOCS / "tour.md"
    before, _, after = page.read_text(encoding="utf-8").partition(MARK)
    page.write_text(before + MARK + gallery() + MARK + after.rpartition(MARK)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
