"""Puts the report together: tables, figures, sentences, then the page and the Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from optbench.records.reader import Results
from optbench.report import Report, context, export, live, page, tables, verdict
from optbench.report.analysis import cells, certificates, comparison, selection, time_spent
from optbench.report.analysis.load import study
from optbench.report.analysis.ranking import Ranking
from optbench.report.analysis.study import Study
from optbench.report.figures import anytime, curves, overview, style, tuning


@dataclass(frozen=True)
class Parts:
    """Everything that is computed before anything is written."""

    study: Study  # a label a competitor
    whole: Study  # every setting that was tried; the same study where nothing was tuned
    choices: pd.DataFrame
    standing: Ranking
    comparison: comparison.Comparison | None
    data: dict[str, pd.DataFrame]  # numbers, by file name
    texts: dict[str, pd.DataFrame]  # the same as a reader sees it


def build(folders: Sequence[Results], out: Path) -> Report:
    """Write everything into `out` and say where the page is."""
    out.mkdir(parents=True, exist_ok=True)
    parts = _parts(study(folders))
    rivals, whole = parts.study, parts.whole
    styles = style.styles(rivals.labels)
    names = export.figures(out / "figures", _figures(parts, styles) if len(rivals.trials) else {})
    export.tables(out / "tables", parts.data, parts.texts)
    best = {problem: whole.best(problem)[0] for problem in whole.problems}
    tidy = export.tidy(out / "tables", whole.trials, export.named_points(whole.trials, whole.points, best))
    sentences = list(parts.comparison.sentences) if parts.comparison else []
    sentences += verdict.verdict(rivals, parts.standing, parts.data["costs"], whole, parts.choices)
    sentences += certificates.proofs(parts.data["certificates"])
    values = context.context(parts, sentences) | {"tidy": tidy, "live": _live(rivals, styles)}
    values["figures"] = [
        {"name": name, "caption": context.caption(name), **page.picture(out / "figures" / f"{name}.png")}
        for name in names
    ]
    html = out / "report.html"
    html.write_text(page.render(values), encoding="utf-8")
    (out / "report.md").write_text(page.markdown(values, parts.texts), encoding="utf-8")
    return Report(html, sentences, parts.comparison.regressions if parts.comparison else [])


def _parts(whole: Study) -> Parts:
    rivals, choices = selection.select(whole)
    standing = Ranking(rivals)
    compared = comparison.compare(rivals)
    settings = tuning.settings(whole)
    data = {
        "costs": cells.costs(rivals),
        "finals": cells.finals(rivals),
        "speeds": cells.speeds(rivals, whole),
        "statuses": cells.statuses(rivals),
        "effort": time_spent.effort(whole),
        "certificates": certificates.certificates(rivals),
        "pairs": standing.table(),
        "trials": whole.trials.drop(columns=["certificate"]),
        "settings": settings,
        "best_of_k": tuning.best_of_k(settings),
        "chosen": choices,
    }
    texts = {"summary": tables.summary(rivals, standing, data["costs"], data["finals"], data["statuses"])}
    for k, problem in enumerate(rivals.problems, 1):
        texts[f"costs_{k}"] = tables.costs(data["costs"], problem)
        texts[f"finals_{k}"] = tables.finals(data["finals"], problem)
    texts["pairs"] = tables.pairs(data["pairs"])
    texts["chosen"] = tables.chosen(choices)
    texts["tuning"] = tables.tuning(data["best_of_k"])
    texts["speeds"] = tables.speeds(data["speeds"])
    texts["effort"] = time_spent.shown(data["effort"])
    texts["statuses"] = tables.statuses(data["statuses"])
    if compared:
        data["comparison"], texts["comparison"] = compared.table, comparison.shown(compared.table)
    return Parts(rivals, whole, choices, standing, compared, data, texts)


def _figures(parts: Parts, styles: dict[str, style.Style]) -> dict[str, Any]:
    """{name: figure, or None where there is nothing to draw}."""
    data, most = parts.data, parts.standing.order
    whole = parts.study.only(most[: style.MOST]) if len(most) > style.MOST else parts.study
    data = data | {name: _of(data[name], whole.labels) for name in ("costs", "finals", "speeds")}
    drawn: dict[str, Any] = {
        "scores": anytime.scores(parts.standing, styles),
        "summary": anytime.summary(whole, parts.standing, styles),
        "ranks": anytime.ranks(parts.standing, styles),
        "targets": overview.targets(whole, data["costs"]),
        "gaps": overview.gaps(whole, styles, data["finals"]),
        "throughput": overview.throughput(whole, styles, data["speeds"]),
    }
    drawn |= curves.figures(whole, styles, "passes") | curves.figures(whole, styles, "seconds")
    return drawn | tuning.figures(data["settings"], data["best_of_k"], styles, most, style.MOST)


def _of(table: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    return table[table["label"].isin(labels)] if len(table) else table


def _live(whole: Study, styles: dict[str, style.Style]) -> dict[str, str] | None:
    library = live.library()
    if library is None or not len(whole.points):
        return None
    return {"data": live.packed_json(live.data(whole, styles)), "library": live.packed(library)}
