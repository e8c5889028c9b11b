"""Puts the report together: numbers, then sections, then files."""

from __future__ import annotations

import difflib
import re
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from filelock import FileLock

from optbench.core.trial import RequestError
from optbench.records.reader import Results
from optbench.report import export, live, minute, page, results
from optbench.report.analysis.budget import in_words
from optbench.report.analysis.findings import Findings, findings
from optbench.report.analysis.following import follow
from optbench.report.analysis.load import load_study
from optbench.report.figures.style import MEDIA, medium, most_drawn, styles
from optbench.report.format import listed, plural
from optbench.report.sections.base import Content, Drawing
from optbench.report.sections.order import SECTIONS
from optbench.report.sentences import comparison
from optbench.report.sentences.glance import in_short
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
    What is left out is as the suite's `[analysis]` states it, else "total" and "returned".
    """

    require_common: int = 1
    axis: str | None = None
    mixed: bool = False
    against: str | None = None
    scored: str | None = None


@dataclass(frozen=True)
class Report:
    """Where the page is and what it says. regressions: plain sentences, one a cell that got worse.

    verdict: all its sentences. in_short: the answer, for a terminal.
    """

    html: Path
    verdict: list[str]
    in_short: list[str]
    regressions: list[str] = field(default_factory=list)


def build_report(folders: Sequence[Results], out: Path, view: View) -> Report:
    """Write everything into `out` and say where the page is; see `optbench.report.write`.

    It is written beside and put in place when it is complete, by one process at a time: what was there before is whole
    until then. Raises RequestError where the folder or its disk takes no files.
    """
    found = _found(folders, view)
    with _writing(out), _beside(out) as new:
        written = _written(found, new)
        _put_in_place(new, out)
    return replace(written, html=out / PAGE)


def draw_figures(folders: Sequence[Results], out: Path, view: View, names: Sequence[str], style: str) -> list[Path]:
    """Draw figures into `out`/figures and say where they are; see `optbench.report.draw`."""
    import matplotlib

    if style not in MEDIA:
        raise RequestError(f"no style {style!r} of figures; there are {listed([*MEDIA])}")
    found = _found(folders, view)
    with medium(style):
        contents = [content for section in SECTIONS if (content := section.content(found, _drawing(found))) is not None]
        known = {name: draws for content in contents for name, draws in content.figures.items()}
        wanted = _wanted(names, known)
        with _writing(out), matplotlib.rc_context():  # a notebook's figures keep their style
            drawn = export.figures(out / "figures", {name: known[name] for name in wanted})
    return [out / "figures" / f"{name}.{kind}" for name in drawn for kind in export.FORMATS]


def _found(folders: Sequence[Results], view: View) -> Findings:
    by = follow(folders, view.axis, view.scored, view.mixed)
    study = load_study(folders, by.axis, by.scored, by.stated)
    results.check_common(study, view.require_common)
    return findings(study, by.mixed)


def _wanted(names: Sequence[str], known: Collection[str]) -> list[str]:
    """The figures that are asked for; a name without its number stands for all of its pages, "all" for every figure."""
    out = []
    for name in names:
        some = [one for one in known if name in (one, "all") or re.fullmatch(re.escape(name) + r"_\d+", one)]
        if not some:
            near = difflib.get_close_matches(name, known, 1, 0.0)
            meant = f"; did you mean {near[0]!r}?" if near else ";"
            raise RequestError(f"no figure {name!r}{meant} There are 'all', {listed(sorted(known), maximum=40)}")
        out += some
    return [*dict.fromkeys(out)]


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """The folder, made and locked; what its disk refuses is said in one line."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with FileLock(out / LOCK):
            yield
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
        raise RequestError(f"the report cannot be written into {out}: {reason}; all records are kept") from None


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
    """Replace the parts of a report one by one, the page last; what an older one had and this one lacks is removed.

    Figures that were drawn on request stay.
    """
    old = new / "old"
    old.mkdir()
    for name in ("tables", "junit.xml", "report.md", "report.json", PAGE):
        if (out / name).exists():
            (out / name).rename(old / name)
        if (new / name).exists():
            (new / name).rename(out / name)


def _written(found: Findings, out: Path) -> Report:
    """Write every part of the report into a folder."""
    contents = {section: section.content(found, _drawing(found)) for section in SECTIONS}
    unit = found.study.unit
    sections = [(section, _in_unit(content, unit)) for section, content in contents.items() if content is not None]
    for _, content in sections:
        export.tables(out / "tables", content.numbers, content.tables)
    values = {"title": _title(found), "subtitle": _subtitle(found), "tidy": _tidy(out / "tables", found)}
    parts = [page.Part(section.name, section.title, content) for section, content in sections]
    data = {"minute": minute.data(found, _drawing(found).styles)}
    data |= {f"curves={problem}": curves for problem, curves in live.curves(found.study).items()}
    html = out / PAGE
    html.write_text(page.render(values, parts, data), encoding="utf-8")
    captions = {name: text for part in parts for name, text in part.content.captions.items() if part.content.figures}
    (out / "report.md").write_text(page.markdown(values, parts, captions), encoding="utf-8")
    sentences = verdict(found)
    (out / "report.json").write_text(results.report_json(found, sentences), encoding="utf-8")
    if found.comparison:
        (out / "junit.xml").write_text(results.junit(found.comparison), encoding="utf-8")
    worse = comparison.regressions(found.comparison) if found.comparison else []
    return Report(html, sentences, in_short(found, len(sentences)), worse)


def _drawing(found: Findings) -> Drawing:
    """Printed figures have the optimizers of the highest score, in the order of the study's labels."""
    labels = found.study.labels
    best_first = dict.fromkeys([*found.ranking.order, *found.ranking.apart, *labels])
    drawn = {*[*best_first][: most_drawn()]}
    return Drawing(styles(labels, found.study.families), [label for label in labels if label in drawn])


def _in_unit(content: Content, unit: str) -> Content:
    """The section's words, headings and captions in the unit of the budget."""
    values = {key: in_words(value, unit) if isinstance(value, str) else value for key, value in content.values.items()}
    tables = {key: table.rename(columns=lambda name: in_words(name, unit)) for key, table in content.tables.items()}
    captions = {name: in_words(text, unit) for name, text in content.captions.items()}
    return replace(content, values=values, tables=tables, captions=captions)


def _tidy(folder: Path, found: Findings) -> str:
    settings = found.settings
    trials = settings.trials if found.chosen is None else settings.trials.assign(chosen=found.chosen)
    return export.tidy(folder, trials, settings.points)


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
