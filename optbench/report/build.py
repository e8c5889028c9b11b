"""Puts the report together: tables, figures, sentences, then the page and the Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from optbench.report import (
    Report,
    anytime,
    cells,
    certificates,
    context,
    curves,
    effort,
    export,
    live,
    overview,
    page,
    regression,
    selection,
    shown,
    style,
    tuning,
    verdict,
)
from optbench.report.gather import study
from optbench.report.standing import Standing
from optbench.report.study import Study
from optbench.results import Results


@dataclass(frozen=True)
class Parts:
    """Everything that is computed before anything is written."""

    study: Study  # a label a competitor
    whole: Study  # every setting that was tried; the same study where nothing was tuned
    choices: pd.DataFrame
    standing: Standing
    comparison: regression.Comparison | None
    data: dict[str, pd.DataFrame]  # numbers, by file name
    texts: dict[str, pd.DataFrame]  # the same as a reader sees it


def build(folders: Sequence[Results], out: Path) -> Report:
    """Write everything into `out` and say where the page is."""
    out.mkdir(parents=True, exist_ok=True)
    parts = _parts(study(folders))
    rivals, whole = parts.study, parts.whole
    looks = style.looks(rivals.labels)
    names = export.figures(out / "figures", _figures(parts, looks) if len(rivals.trials) else {})
    export.tables(out / "tables", parts.data, parts.texts)
    best = {problem: whole.best(problem)[0] for problem in whole.problems}
    tidy = export.tidy(out / "tables", whole.trials, export.named_points(whole.trials, whole.points, best))
    sentences = list(parts.comparison.sentences) if parts.comparison else []
    sentences += verdict.verdict(rivals, parts.standing, parts.data["costs"], whole, parts.choices)
    sentences += certificates.proofs(parts.data["certificates"])
    values = context.context(parts, sentences) | {"tidy": tidy, "live": _live(rivals, looks)}
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
    standing = Standing(rivals)
    comparison = regression.compare(rivals)
    settings = tuning.settings(whole)
    data = {
        "costs": cells.costs(rivals),
        "finals": cells.finals(rivals),
        "speeds": cells.speeds(rivals, whole),
        "statuses": cells.statuses(rivals),
        "effort": effort.effort(whole),
        "certificates": certificates.certificates(rivals),
        "pairs": standing.table(),
        "trials": whole.trials.drop(columns=["certificate"]),
        "settings": settings,
        "best_of_k": tuning.best_of_k(settings),
        "chosen": choices,
    }
    texts = {"summary": shown.summary(rivals, standing, data["costs"], data["finals"], data["statuses"])}
    for k, problem in enumerate(rivals.problems, 1):
        texts[f"costs_{k}"] = shown.costs(data["costs"], problem)
        texts[f"finals_{k}"] = shown.finals(data["finals"], problem)
    texts["pairs"] = shown.pairs(data["pairs"])
    texts["chosen"] = shown.chosen(choices)
    texts["tuning"] = shown.tuning(data["best_of_k"])
    texts["speeds"] = shown.speeds(data["speeds"])
    texts["effort"] = effort.shown(data["effort"])
    texts["statuses"] = shown.statuses(data["statuses"])
    if comparison:
        data["comparison"], texts["comparison"] = comparison.table, regression.shown(comparison.table)
    return Parts(rivals, whole, choices, standing, comparison, data, texts)


def _figures(parts: Parts, looks: dict[str, style.Look]) -> dict[str, Any]:
    """{name: figure, or None where there is nothing to draw}."""
    data, most = parts.data, parts.standing.order
    whole = parts.study.only(most[: style.MOST]) if len(most) > style.MOST else parts.study
    data = data | {name: _of(data[name], whole.labels) for name in ("costs", "finals", "speeds")}
    drawn: dict[str, Any] = {
        "scores": anytime.scores(parts.standing, looks),
        "summary": anytime.summary(whole, parts.standing, looks),
        "ranks": anytime.ranks(parts.standing, looks),
        "targets": overview.targets(whole, data["costs"]),
        "gaps": overview.gaps(whole, looks, data["finals"]),
        "throughput": overview.throughput(whole, looks, data["speeds"]),
    }
    drawn |= curves.figures(whole, looks, "passes") | curves.figures(whole, looks, "seconds")
    return drawn | tuning.figures(data["settings"], data["best_of_k"], looks, most, style.MOST)


def _of(table: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    return table[table["label"].isin(labels)] if len(table) else table


def _live(whole: Study, looks: dict[str, style.Look]) -> dict[str, str] | None:
    library = live.library()
    if library is None or not len(whole.points):
        return None
    return {"data": live.packed_json(live.data(whole, looks)), "library": live.packed(library)}
