"""What the page says in words: everything the templates need, as plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from optbench.report import page, verdict
from optbench.report.analysis import certificates, time_spent
from optbench.report.analysis.ranking import ALPHA, LEAST, ROPE, SURE
from optbench.report.analysis.statistics import median_interval
from optbench.report.analysis.study import Study
from optbench.report.figures.style import MOST
from optbench.report.format import listed, number, plural

if TYPE_CHECKING:
    from optbench.report.build import Parts

CAPTIONS = {
    "scores": "Left: interquartile mean of the anytime score. Right: the chance that the first ends lower than each.",
    "summary": "Left: share of all (problem, target, seed) hit by a cost. Middle: performance profiles of all. "
    "Right: the profiles of the first two alone, for an order among many can switch.",
    "ranks": "Mean ranks over problems; a bar joins optimizers that Friedman and Wilcoxon-Holm tests do not tell apart "
    "at the 5 % level.",
    "curves_passes": "Training loss above the best known against passes: median over seeds with its interval.",
    "curves_seconds": "The same against the optimizer's own seconds.",
    "targets": "Median passes to each target.",
    "gaps": "Training loss of the returned point above the best known; a cross is infinite: most trials were lost.",
    "throughput": "Throughput and memory: a mark a problem.",
    "best_of_k": "Expected loss of the setting that validates best among k tried, by k.",
    "rates": "Median final training loss against the learning rate; a gap is a rate at which most trials were lost.",
}


def caption(name: str) -> str:
    """What a figure shows; the several pages of one view share it."""
    return next(text for start, text in CAPTIONS.items() if name.startswith(start))


def context(parts: Parts, sentences: list[str]) -> dict[str, Any]:
    """The values of the page and of the Markdown, figures and live data aside."""
    whole, texts = parts.study, parts.texts  # every setting counts in the numbers of trials alone
    proofs = parts.data["certificates"]
    comparison = None
    if parts.comparison:
        comparison = {"about": parts.comparison.about, "table": page.rows(texts["comparison"])}
    return {
        "title": " against ".join(dict.fromkeys(_title(env) for env in whole.environments)),
        "subtitle": _subtitle(whole, len(parts.whole.trials), whole.environments[0]),
        "verdict": sentences,
        "notes": whole.notes,
        "comparison": comparison,
        "summary": page.rows(texts["summary"]),
        "coverage": _coverage(whole),
        "uneven": _uneven(whole),
        "crowd": _crowd(len(whole.labels)),
        "pairs_about": _pairs_about(),
        "pairs": page.rows(texts["pairs"]),
        "tuning_about": _tuning_about(parts.data["best_of_k"]),
        "tuning": page.rows(texts["tuning"]),
        "chosen": page.rows(texts["chosen"]),
        "chosen_about": _chosen_about(parts.choices),
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
        "clock": _clock(parts.data["speeds"]),
        "speeds": page.rows(texts["speeds"]),
        "effort": page.rows(texts["effort"]),
        "effort_about": time_spent.sentence(parts.data["effort"]),
        "status_line": _status_line(parts.whole),
        "statuses": page.rows(texts["statuses"]),
        "origins": [_origin(env) for env in whole.environments],
    }


def _title(environment: dict[str, Any]) -> str:
    return str(environment.get("suite") or "results")


def _uneven(whole: Study) -> str:
    stated = {frozenset((whole.facts.get(problem, {}).get("targets") or {}).keys()) for problem in whole.problems}
    if len(stated) < 2:
        return ""
    return "Problems state different targets, those that tell optimizers apart, so each column counts its own problems."


def _crowd(optimizers: int) -> str:
    if optimizers <= MOST:
        return ""
    return f"The figures show the {MOST} optimizers of the highest score; tables and interactive curves hold all."


def _pairs_about() -> str:
    return (
        "Problems are the paired unit: each pair is compared by its mean anytime score on every problem both were "
        "planned on, so a claim about two optimizers never depends on a third. “Better” needs a probability of "
        f"{SURE:g} of a practical difference (Bayesian signed-rank test, equivalence within {ROPE:g} of score) and p "
        f"< {ALPHA:g} in Wilcoxon's test of that pair, which takes {LEAST} problems. "
        "A winner is better than every other. Holm's p corrects for all pairs of this table and so does depend on "
        "who entered."
    )


def _tuning_about(best: pd.DataFrame) -> str:
    if not len(best):
        return ""
    selected, reported = listed(sorted(set(best["selected_on"]))), listed(sorted(set(best["reported_on"])))
    text = f"Settings are chosen on {selected} loss and reported on {reported} loss; each dot is exact, not resampled."
    return text + " A curve begins where enough settings have been tried that a lost one is never chosen."


def _chosen_about(choices: pd.DataFrame) -> str:
    if not len(choices):
        return ""
    return (
        "Every setting was run on every seed. A seed is reported with the setting that does best on the other seeds, "
        "so that no seed speaks for the setting it is reported with, and test data choose nothing; the number after a "
        "setting is that of the seeds it was chosen for. As many settings were drawn (Sobol) for each optimizer that "
        "declares a search space. The cost of tuning is that of all trials with all settings, lost ones included."
    )


def _subtitle(whole: Study, trials: int, environment: dict[str, Any]) -> str:
    seeds = whole.trials.groupby(["problem", "label"], sort=False).size()
    counts = " to ".join(str(n) for n in sorted({int(seeds.min()), int(seeds.max())})) if len(seeds) else "0"
    parts = [plural(len(whole.labels), "optimizer"), plural(len(whole.problems), "problem")]
    text = f"{listed(parts)}, {counts} seed{'' if counts == '1' else 's'} each, {plural(trials, 'trial')}"
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
    return "BatchedModel marked alone were timed alone on the machine and may be compared; rows marked shared may not."


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
