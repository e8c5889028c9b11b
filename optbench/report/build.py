"""Puts the report together: numbers, then sections, then files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from optbench.core.trial import RequestError
from optbench.records.reader import Results
from optbench.report import export, page, results
from optbench.report.analysis.budget import in_words
from optbench.report.analysis.final_points import RETURNED
from optbench.report.analysis.findings import Findings, findings
from optbench.report.analysis.load import load_study
from optbench.report.analysis.study import TOTAL
from optbench.report.figures.style import MAX_DRAWN, styles
from optbench.report.format import listed, plural
from optbench.report.sections.base import Content, Drawing
from optbench.report.sections.order import SECTIONS
from optbench.report.sentences import comparison
from optbench.report.sentences.verdict import verdict

PAGE = "report.html"
NEW, LOCK = ".report.new", ".report.lock"  # beside what is there


@dataclass(frozen=True)
class View:
    """How results are looked at.

    require_common: cells that every later folder must share with the first. axis: "total", the problem's work and the
    optimizer's own, or "oracle", the problem's alone. mixed: tuned and untuned optimizers are ranked together. against:
    a reference, "standard", "modern" or a result folder, whose optimizers stand beside those of the one folder given.
    scored: what stands for a trial at the budget, the point that it "returned" or the "best" point of its curve.
    """

    require_common: int = 1
    axis: str = TOTAL
    mixed: bool = False
    against: str | None = None
    scored: str = RETURNED


@dataclass(frozen=True)
class Report:
    """Where the page is and what it says. regressions: plain sentences, one a cell that got worse."""

    html: Path
    verdict: list[str]
    regressions: list[str] = field(default_factory=list)


def build_report(folders: Sequence[Results], out: Path, view: View) -> Report:
    """Write everything into `out` and say where the page is; see `optbench.report.write`.

    It is written beside and put in place when it is complete, by one process at a time: what was there before is whole
    until then. Raises RequestError where the folder or its disk takes no files.
    """
    import matplotlib

    study = load_study(folders, view.axis, view.scored)
    results.check_common(study, view.require_common)
    found = findings(study, view.mixed)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with (
            matplotlib.rc_context(),
            FileLock(out / LOCK),
            _beside(out) as new,
        ):  # a notebook's figures keep their style
            written = _written(found, new)
            _put_in_place(new, out)
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
        raise RequestError(f"the report cannot be written into {out}: {reason}; all records are kept") from None
    return replace(written, html=out / PAGE)


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A new folder in `out` that is gone afterwards; one that a killed process left is removed first."""
    new = out / NEW
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    try:
        yield new
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _put_in_place(new: Path, out: Path) -> None:
    """Replace the parts of a report one by one, the page last; what an older one had and this one lacks is removed."""
    old = new / "old"
    old.mkdir()
    for name in ("figures", "tables", "junit.xml", "report.md", "report.json", PAGE):
        if (out / name).exists():
            (out / name).rename(old / name)
        if (new / name).exists():
            (new / name).rename(out / name)


def _written(found: Findings, out: Path) -> Report:
    """Write every part of the report into a folder."""
    contents = {section: section.content(found, _drawing(found)) for section in SECTIONS}
    sections = [(section, content) for section, content in contents.items() if content is not None]
    drawn = export.figures(out / "figures", {k: v for _, content in sections for k, v in content.figures.items()})
    for _, content in sections:
        export.tables(out / "tables", content.numbers, content.tables)
    values = {"title": _title(found), "subtitle": _subtitle(found), "tidy": _tidy(out / "tables", found)}
    pictures = {name: page.picture(out / "figures" / f"{name}.png") for name in drawn}
    parts = [
        page.Part(section.name, section.title, content, _shown(content, pictures, found.study.unit))
        for section, content in sections
    ]
    html = out / PAGE
    html.write_text(page.render(values, parts), encoding="utf-8")
    (out / "report.md").write_text(page.markdown(values, parts), encoding="utf-8")
    sentences = verdict(found)
    (out / "report.json").write_text(results.report_json(found, sentences), encoding="utf-8")
    if found.comparison:
        (out / "junit.xml").write_text(results.junit(found.comparison), encoding="utf-8")
    return Report(html, sentences, comparison.regressions(found.comparison) if found.comparison else [])


def _drawing(found: Findings) -> Drawing:
    """Printed figures have the optimizers of the highest score, in the order of the study's labels."""
    labels = found.study.labels
    best_first = dict.fromkeys([*found.ranking.order, *found.ranking.apart, *labels])
    drawn = {*[*best_first][:MAX_DRAWN]}
    return Drawing(styles(labels), [label for label in labels if label in drawn])


def _shown(content: Content, pictures: dict[str, dict[str, Any]], unit: str) -> list[dict[str, Any]]:
    """The section's figures with their captions; the several pages of one view share a caption."""
    return [
        {
            "name": name,
            "caption": in_words(next(t for start, t in content.captions.items() if name.startswith(start)), unit),
        }
        | pictures[name]
        for name in content.figures
        if name in pictures
    ]


def _tidy(folder: Path, found: Findings) -> str:
    settings = found.settings
    best = {problem: settings.best(problem)[0] for problem in settings.problems}
    trials = settings.trials if found.chosen is None else settings.trials.assign(chosen=found.chosen)
    return export.tidy(folder, trials, export.named_points(trials, settings.points, best))


def _title(found: Findings) -> str:
    names = (str(environment.get("suite") or "results") for environment in found.study.environments)
    return " against ".join(dict.fromkeys(names))


def _subtitle(found: Findings) -> str:
    study, environment = found.study, found.study.environments[0]
    seeds = study.trials.groupby(["problem", "label"], sort=False).size()
    counts = " to ".join(str(n) for n in sorted({int(seeds.min()), int(seeds.max())})) if len(seeds) else "0"
    parts = [plural(len(study.labels), "optimizer"), plural(len(study.problems), "problem")]
    text = f"{listed(parts)}, {counts} seed{'' if counts == '1' else 's'} each, "
    text += plural(len(found.settings.trials), "trial")
    started = environment.get("started")
    return text + (f"; started {started}" if started else "") + f"; optbench {environment.get('optbench', 'unknown')}"
