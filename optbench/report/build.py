"""Puts the report together: tables, figures, sentences, then the page and the Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd

from optbench.load import Results
from optbench.report import Report, cells, certificates, curves, export, overview, page, shown, style, verdict
from optbench.report.study import Study, study
from optbench.report.words import listed, number, plural
from optbench.stats import median_interval

CAPTIONS = {
    "curves_passes": "Training loss above the best known against passes: median over seeds with its interval.",
    "curves_seconds": "The same against the optimizer's own seconds.",
    "targets": "Median passes to each target.",
    "gaps": "Training loss of the returned point above the best known; a cross is infinite: most trials were lost.",
    "throughput": "Throughput and memory: a mark a problem.",
}


def build(folders: Sequence[Results], out: Path) -> Report:
    """Write everything into `out` and say where the page is."""
    out.mkdir(parents=True, exist_ok=True)
    whole = study(folders)
    data = {
        "costs": cells.costs(whole),
        "finals": cells.finals(whole),
        "speeds": cells.speeds(whole),
        "statuses": cells.statuses(whole),
        "certificates": certificates.certificates(whole),
        "trials": whole.trials.drop(columns=["certificate"]),
    }
    texts = _texts(whole, data)
    looks = style.looks(whole.labels)
    drawn: dict[str, Any] = {}
    if len(whole.trials):
        drawn |= curves.figures(whole, looks, "passes") | curves.figures(whole, looks, "seconds")
        drawn["targets"] = overview.targets(whole, data["costs"])
        drawn["gaps"] = overview.gaps(whole, looks, data["finals"])
        drawn["throughput"] = overview.throughput(whole, looks, data["speeds"])
    names = export.figures(out / "figures", drawn)
    export.tables(out / "tables", data, texts)
    sentences = verdict.verdict(whole, data["costs"])
    context = _context(whole, data, texts, sentences)
    context["figures"] = [
        {"name": name, "caption": _caption(name), "picture": page.picture(out / "figures" / f"{name}.png")}
        for name in names
    ]
    html = out / "report.html"
    html.write_text(page.render(context), encoding="utf-8")
    (out / "report.md").write_text(_markdown(context, texts), encoding="utf-8")
    return Report(html, sentences)


def _caption(name: str) -> str:
    return next(caption for start, caption in CAPTIONS.items() if name.startswith(start))


def _texts(whole: Study, data: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The tables as text, by file name."""
    texts = {"summary": shown.summary(whole, data["costs"], data["finals"], data["statuses"])}
    for k, problem in enumerate(whole.problems, 1):
        texts[f"costs_{k}"] = shown.costs(data["costs"], problem)
        texts[f"finals_{k}"] = shown.finals(data["finals"], problem)
    texts["speeds"] = shown.speeds(data["speeds"])
    texts["statuses"] = shown.statuses(data["statuses"])
    return texts


def _context(
    whole: Study, data: dict[str, pd.DataFrame], texts: dict[str, pd.DataFrame], sentences: list[str]
) -> dict[str, Any]:
    environment = whole.environments[0]
    proofs = data["certificates"]
    return {
        "title": " against ".join(dict.fromkeys(str(env.get("suite") or "results") for env in whole.environments)),
        "subtitle": _subtitle(whole, environment),
        "verdict": sentences,
        "notes": whole.notes,
        "summary": page.rows(texts["summary"]),
        "coverage": _coverage(whole),
        "problems": [
            {
                "name": problem,
                "about": about(whole.facts.get(problem, {})),
                "reference": certificates.reference(whole, problem),
                "certificates": certificates.sentences(whole, problem, proofs),
                "costs": page.rows(texts[f"costs_{k}"]),
                "finals": page.rows(texts[f"finals_{k}"]),
            }
            for k, problem in enumerate(whole.problems, 1)
        ],
        "clock": _clock(data["speeds"]),
        "speeds": page.rows(texts["speeds"]),
        "status_line": _status_line(whole),
        "statuses": page.rows(texts["statuses"]),
        "origins": [_origin(env) for env in whole.environments],
    }


def _subtitle(whole: Study, environment: dict[str, Any]) -> str:
    seeds = whole.trials.groupby(["problem", "label"], sort=False).size()
    counts = " to ".join(str(n) for n in sorted({int(seeds.min()), int(seeds.max())})) if len(seeds) else "0"
    parts = [plural(len(whole.labels), "optimizer"), plural(len(whole.problems), "problem")]
    text = f"{listed(parts)}, {counts} seed{'' if counts == '1' else 's'} each, {plural(len(whole.trials), 'trial')}"
    started = environment.get("started")
    return text + (f"; started {started}" if started else "") + f"; optbench {environment.get('optbench', 'unknown')}"


def about(fact: dict[str, Any]) -> str:
    """A problem in one line."""
    if not fact:
        return "Nothing is known of this problem but its records."
    parts = [str(fact.get("summary") or "").rstrip(".")]
    parts.append(f"{fact.get('track', '')} track, loss {fact.get('loss', 'unknown')}")
    parts.append(plural(int(fact.get("dim") or 0), "parameter"))
    splits = [f"{fact[name]} {name}" for name in ("train", "valid", "test") if fact.get(name)]
    parts.append(f"samples: {listed(splits)}" if splits else "")
    parts.append(f"minibatch {fact['batch']}" if fact.get("batch") else "full batch")
    return "; ".join(part for part in parts if part) + "."


def _coverage(whole: Study) -> str:
    sizes = sorted({len(rows) for rows in whole.cells.values()})
    if not sizes:
        return ""
    if sizes[-1] == 1:
        return "are absent: one seed has no interval."
    level = median_interval([0.0] * sizes[-1]).level
    kind = "the exact sign-test interval for the median" if sizes[-1] > 5 else "the range of the seeds"
    return f"are {kind}, which covers the median with probability {number(100 * level)} % ({sizes[-1]} seeds)."


def _clock(speeds: pd.DataFrame) -> str:
    if not len(speeds):
        return ""
    alone = speeds["comparable"].astype(bool)
    if alone.all():
        return "Every row was timed alone on the machine, so seconds may be compared."
    if not alone.any():
        return (
            "No trial ran alone: trials shared the machine, so seconds and rates are rough and must not be "
            "compared between optimizers. Passes may be."
        )
    return "Rows marked alone were timed alone on the machine and may be compared; rows marked shared may not."


def _status_line(whole: Study) -> str:
    counts = whole.trials["status"].value_counts()
    ended = listed([f"{n} {status}" for status, n in counts.items()])
    return f"Of {plural(len(whole.trials), 'planned trial')}: {ended}."


def _origin(environment: dict[str, Any]) -> dict[str, str]:
    ceilings = (environment.get("ceiling_flops_per_second") or {}).items()
    more = [f"{environment[name]} {name}" for name in ("threads", "workers") if environment.get(name)]
    more += [f"matrix-product ceiling {number(value / 1e9)} GFLOP/s ({device})" for device, value in ceilings if value]
    return {
        "machine": verdict.machine(environment),
        "command": str(environment.get("command") or "unknown: environment.json does not say"),
        "more": "; ".join(more),
    }


def _markdown(context: dict[str, Any], texts: dict[str, pd.DataFrame]) -> str:
    import jinja2

    source = (resources.files("optbench.report") / "page.md.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(  # Markdown, not HTML: names are escaped by the filter `md`
        autoescape=False, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["md"] = export.md
    problems = [
        problem | {"costs_md": export.markdown(texts[f"costs_{k}"]), "finals_md": export.markdown(texts[f"finals_{k}"])}
        for k, problem in enumerate(context["problems"], 1)
    ]
    statuses = texts["statuses"]
    more = {
        "problems": problems,
        "summary_md": export.markdown(texts["summary"]) if len(texts["summary"]) else "",
        "statuses_md": export.markdown(statuses) if len(statuses) else "",
    }
    return environment.from_string(source).render(context | more)
