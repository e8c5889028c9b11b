"""The tour as a folder: a page a topic, an index, thumbnails, and notebooks of the same studies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import torch

from optbench.core.trial import RequestError
from optbench.tour import notebook
from optbench.tour.page import Card, Neighbour, index, page
from optbench.tour.picture import Picture
from optbench.tour.still import thumbnail
from optbench.tour.topic import Topic, topic
from optbench.tour.topics import TOPICS

THUMBNAILS = "thumbnails"
NOTEBOOKS = "notebooks"


def write(
    out: Path, names: Sequence[str], command: str, say: Callable[[str], None] = print, quick: bool = False
) -> Path:
    """Run the studies, write their pages, and return the index of the folder, which lists all pages that are there.

    names: of topics; none for all. command: what made it, to be shown. say: told of every page. quick: small studies.
    Raises RequestError for a wrong name or a folder that cannot be written, before anything runs.
    """
    chosen = list(dict.fromkeys(names)) or list(TOPICS)
    topics = {name: topic(name) for name in chosen}
    _folder(out / THUMBNAILS)
    there = [name for name in TOPICS if name in topics or (out / f"{name}.html").is_file()]
    for name, one in topics.items():
        began = perf_counter()
        arguments = dict(one.quick) if quick else {}
        try:
            with one_thread():
                picture = one.draw(one.data(**arguments))
        except RequestError as error:
            raise RequestError(f"{name}: {error}") from None
        _write(out, name, one, picture, one.code(**arguments), there)
        say(f"{name}: {out / f'{name}.html'} ({perf_counter() - began:.0f} s)")
    cards = [_card(out, name) for name in there if (out / THUMBNAILS / f"{name}.webp").is_file()]
    (out / "index.html").write_text(index(cards, command), encoding="utf-8")
    return out / "index.html"


def write_notebooks(out: Path, names: Sequence[str], quick: bool = False) -> list[Path]:
    """The same studies as notebooks, not yet run. Raises RequestError as `write` does."""
    topics = {name: topic(name) for name in list(dict.fromkeys(names)) or TOPICS}
    folder = _folder(out / NOTEBOOKS)
    files = []
    for name, one in topics.items():
        files.append(folder / f"{name}.ipynb")
        files[-1].write_text(notebook.text(name, one, dict(one.quick) if quick else {}), encoding="utf-8")
    return files


@contextmanager
def one_thread() -> Iterator[None]:
    """Meanwhile torch has one thread, as trials of a run have: several cost small networks more than they save."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"cannot write {folder.parent}: {error.strerror}; choose another --out") from None
    return folder


def _write(out: Path, name: str, one: Topic, picture: Picture, code: str, there: Sequence[str]) -> None:
    place = there.index(name)
    before = _neighbour(there[place - 1]) if place else None
    after = _neighbour(there[place + 1]) if place + 1 < len(there) else None
    try:
        (out / f"{name}.html").write_text(page(name, one, picture, code, before, after), encoding="utf-8")
        (out / THUMBNAILS / f"{name}.webp").write_bytes(thumbnail(picture))
    except OSError as error:
        raise RequestError(f"cannot write {error.filename or out}: {error.strerror}") from None


def _neighbour(name: str) -> Neighbour:
    return Neighbour(name, topic(name).title)


def _card(out: Path, name: str) -> Card:
    one = topic(name)
    return Card(name, one.title, one.question, (out / THUMBNAILS / f"{name}.webp").read_bytes())
