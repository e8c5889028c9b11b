"""An archive as static pages: leaderboards, a page a submission, its report. No page loads anything of another host."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from optbench import report
from optbench.archive.boards import boards, scored
from optbench.archive.submissions import entries, opened, standing
from optbench.core.trial import RequestError
from optbench.records.manifest import plain
from optbench.report.format import between

INDEX, STYLE, NEW = "index.html", "site.css", ".site.new"
MADE_BY = '<meta name="generator" content="optbench archive">'  # in every page


def write(archive: Path, out: Path, reports: bool = True, say: Callable[[str], Any] = print) -> Path:
    """Write the pages of an archive into a new folder, and return the first of them.

    reports: each submission's whole report too. say: told what is left out and why. Submissions whose bytes are not as
    their manifest states are listed with the reason and stand on no board. Raises RequestError for an archive without
    submissions, and for a folder that holds other files.
    """
    found = entries(archive)
    if not found:
        raise RequestError(f"{archive} has no submissions; `archive add DIR --to {archive} --name N` makes one")
    if out.exists() and not _is_ours(out):
        raise RequestError(f"{out} holds other files; choose another --out")
    shutil.rmtree(out / NEW, ignore_errors=True)
    try:
        (out / NEW).mkdir(parents=True)
        scores, sound, refused = [], [], [(entry.folder.name, entry.wrong) for entry in found if entry.manifest is None]
        for entry in found:
            if entry.manifest is None:
                continue
            try:
                scores.append(scored(entry.folder))
                sound.append(entry)
            except RequestError as error:
                refused.append((entry.folder.name, plain(error)))
        for name, wrong in refused:
            say(f"{plain(name, 40)} is left out: {wrong}")
        for entry in sound:
            place = out / NEW / entry.folder.name
            place.mkdir()
            if reports:
                report.write([entry.folder], place / "report")
            _page(place / INDEX, "submission.html.j2", manifest=opened(entry.folder), report=reports)
        submissions = [entry.manifest for entry in sound]
        _page(out / NEW / INDEX, "index.html.j2", boards=boards(scores), submissions=submissions, refused=refused)
        (out / NEW / STYLE).write_text(_template(STYLE), encoding="utf-8")
        _put_in_place(out)
    except OSError as error:
        raise RequestError(f"the site cannot be written into {out}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(out / NEW, ignore_errors=True)
    return out / INDEX


def _is_ours(out: Path) -> bool:
    """Whether a folder is empty, or a site that this wrote before and nothing else."""
    if not out.is_dir():
        return False
    pages = all(path.name in (NEW, INDEX, STYLE) or (path / INDEX).is_file() for path in out.iterdir())
    first = out / INDEX
    return pages and (not first.is_file() or MADE_BY in first.read_text("utf-8", "replace"))


def _put_in_place(out: Path) -> None:
    """What was there goes, the new pages come, the first page last."""
    for old in out.iterdir():
        if old.name != NEW:
            shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
    for path in sorted((out / NEW).iterdir(), key=lambda path: path.name == INDEX):
        path.rename(out / path.name)


def _page(path: Path, template: str, **values: Any) -> None:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters |= {"plain": plain, "between": between, "standing": standing, "folder": quote}
    path.write_text(environment.get_template(template).render(values), encoding="utf-8")


def _template(name: str) -> str:
    return (resources.files("optbench.archive") / "templates" / name).read_text(encoding="utf-8")
