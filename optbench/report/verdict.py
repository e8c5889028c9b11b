"""The first thing on the page: who won, how sure we are, who reached what at which cost, in plain sentences."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from optbench.report.analysis.ranking import ALPHA, LEAST, SURE, Ranking
from optbench.report.analysis.statistics import Array, median_interval
from optbench.report.analysis.study import Study
from optbench.report.format import between, listed, number, percent, plural, target_name

SHOWN = 8  # optimizers that get a sentence each; the others are summed up


def verdict(
    study: Study,
    standing: Ranking,
    costs: pd.DataFrame,
    whole: Study | None = None,
    choices: pd.DataFrame | None = None,
) -> list[str]:
    """Plain sentences, never empty. whole, choices: all settings and those chosen, where something was tuned."""
    out = completeness(whole or study)
    if not len(study.trials):
        return out
    if not len(costs):
        return [*out, "No targets are stated, so no cost to target can be given; see the final losses below."]
    if not np.isfinite(study.passes_to).any():
        return [*out, f"No trial reached any target on any of {plural(len(study.problems), 'problem')}."]
    out += _winner(standing)
    if whole is not None and choices is not None and len(choices):
        out += _tuned(study, whole, choices)
    out += _reached(study, costs, standing.order)
    out += _on_test(study)
    out += _lost(study)
    out += [
        f"By mean rank {b} stands before {a}, yet {a} does better on most problems when the two are compared alone: "
        "that rank order is made by the other entrants, and no claim here rests on it."
        for a, b in standing.switches()[:2]
    ]
    return out


def completeness(study: Study) -> list[str]:
    """What is missing or was lost, before anything is concluded from the rest."""
    total = len(study.trials)
    if not total:
        return ["There are no records and no plan: nothing has been measured yet."]
    missing = study.incomplete()
    if missing == total:
        return [f"None of the {plural(total, 'planned trial')} has a record yet."]
    out = []
    if missing:
        out.append(
            f"The run is incomplete: {missing} of {plural(total, 'planned trial')} left no record. "
            "They count as not having reached any target."
        )
    if (lost := int(study.lost.sum()) - missing) == total - missing:
        out.append(f"Every one of the {plural(lost, 'recorded trial')} failed or does not apply: nothing was compared.")
    return out


def headline(study: Study) -> float:
    """The target the verdict speaks of: 1 % where there is one, else the hardest."""
    return 0.01 if 0.01 in study.taus else study.taus[-1]


def _winner(standing: Ranking) -> list[str]:
    """Whether somebody won, pair by pair over problems."""
    if len(standing.labels) < 2:
        return ["One optimizer took part, so nobody can win."]
    leader = standing.winner or standing.order[0]
    score = f"score {between(standing.iqm[leader])}, where 1 is every target at once and 0 is none by the budget"
    count = plural(len(standing.problems), "problem")
    if standing.winner:
        others = [standing.pairs[leader, other] for other in standing.labels if other != leader]
        surest = min(pair.posterior.better for pair in others)
        weakest = max(pair.p for pair in others)
        what = "the other" if len(others) == 1 else f"each of the {len(others)} others"
        return [
            f"{leader} wins: over {count} it reaches the targets sooner than {what} ({score}; in every pair a "
            f"probability of at least {number(surest)} of being practically better, and p ≤ {number(weakest)})."
        ]
    level = [label for label in standing.order if standing.iqm[label].estimate == standing.iqm[leader].estimate]
    highest = f"The highest is {leader}" if len(level) == 1 else f"{listed(level)} share the highest"
    most = max(pair.problems for pair in standing.pairs.values())
    if most < LEAST:
        return [
            f"No winner is claimed: {count} cannot carry a claim about problems in general (it takes {LEAST}). "
            f"{highest} ({score})."
        ]
    tied = standing.group(leader, "same")
    unclear = [label for label in standing.order if label != leader and label not in tied]
    unclear = [label for label in unclear if standing.pairs[leader, label].claim == "open"]
    out = [f"No single winner over {count}. {highest} ({score})."]
    if tied:
        out.append(f"{listed(tied)} {'is' if len(tied) == 1 else 'are'} practically the same as {leader}.")
    if unclear:
        best = standing.pairs[leader, unclear[0]]
        out.append(
            f"The evidence does not tell {leader} from {listed(unclear)} (against {unclear[0]}: better on {best.wins}, "
            f"worse on {best.losses} of {best.problems}, probability {number(best.posterior.better)} of being "
            f"practically better, p = {number(best.p)}; a claim needs {SURE:g} and p < {ALPHA:g})."
        )
    beaten = standing.group(leader, "better")
    if beaten:
        out.append(f"Pair by pair, at the 5 % level each and uncorrected, it is better than {listed(beaten)}.")
    return out


def _tuned(study: Study, whole: Study, choices: pd.DataFrame) -> list[str]:
    """Who was tuned, how, at what cost, and who was not."""
    names = [label for label in study.labels if label in set(choices["label"])]
    counts = listed([str(count) for count in sorted(set(choices["tried"]))], "or")
    on = " or ".join(f"{what} loss" for what in ("validation", "training") if what in set(choices["selected_on"]))
    dear = number(float(choices["passes"].sum() / max(float(study.trials["passes"][_of(study, names)].sum()), 1e-9)))
    text = (
        f"{plural(len(names), 'optimizer')} tuned: each seed is reported with the one of {counts} settings that has "
        f"the lowest {on} on the other seeds, never chosen on test; the tuning took {dear} times the passes reported"
    )
    lost = int(choices["lost"].sum()) - int(study.lost[_of(study, names)].sum())
    text += f", and {plural(lost, 'trial')} with other settings did not end well." if lost else "."
    rest = [label for label in study.labels if label not in names]
    return [text, f"As they come, untuned: {listed(rest)}."] if rest else [text]


def _of(study: Study, labels: list[str]) -> np.ndarray:
    return study.trials["label"].isin(labels).to_numpy()


def _reached(study: Study, costs: pd.DataFrame, order: list[str]) -> list[str]:
    """Who reached the headline target where, and at what cost."""
    tau = headline(study)
    part = costs[costs["tau"] == tau]
    solved = {label: part[(part["label"] == label) & (2 * part["hits"] > part["trials"])] for label in order}
    # Most problems first, then the least cost.
    ranked = sorted(order, key=lambda label: (-len(solved[label]), solved[label]["passes"].median()))
    some = [label for label in ranked if len(solved[label])]
    out = [_sentence(study, label, tau, part[part["label"] == label], solved[label]) for label in some[:SHOWN]]
    if more := some[SHOWN:]:
        counts = [f"{label} on {len(solved[label])}" for label in more]
        out.append(f"Further, {listed(counts)}.")
    if none := [label for label in ranked if not len(solved[label])]:
        out.append(f"On no problem did most trials of {listed(none, 'or')} reach the {target_name(tau)}.")
    return out


def _sentence(study: Study, label: str, tau: float, cells: pd.DataFrame, solved: pd.DataFrame) -> str:
    hits, trials = int(cells["hits"].sum()), int(cells["trials"].sum())
    planned = sum(name == label for _, name in study.cells)
    of = plural(len(cells), "problem") + (" that state it" if len(cells) < planned else "")
    text = f"{label} reached the {target_name(tau)} on {len(solved)} of {of}"
    median = median_interval(solved["passes"])
    where = "at" if len(solved) == 1 else "at a median of"
    text += f" {where} {between(median)} passes ({hits} of {plural(trials, 'trial')})"
    sizes = {name: int(study.facts.get(name, {}).get("dim") or 0) for name in cells["problem"]}
    largest = max(sizes[name] for name in solved["problem"])
    return text + (f", none above {largest} parameters." if 0 < largest < max(sizes.values()) else ".")


def _on_test(study: Study) -> list[str]:
    """Who generalises: on how many problems each has the lowest median test loss; lost trials are infinite."""
    test = study.last.get("test_loss")
    if test is None:
        return []
    lowest: Counter[str] = Counter()
    problems = 0
    for problem in study.problems:
        cells = {label: study.cells[problem, label] for label in study.labels if (problem, label) in study.cells}
        medians = {label: _median(test[rows], study.lost[rows]) for label, rows in cells.items()}
        least = min(medians.values(), default=math.inf)
        if len(cells) > 1 and math.isfinite(least):
            problems += 1
            lowest.update(label for label, value in medians.items() if value == least)
    if not problems:
        return []
    counts = [f"{label} on {count}" for label, count in lowest.most_common()]
    of = f"{plural(problems, 'problem')} with test data"
    return [f"The lowest median test loss at the budget, of {of}: {listed(counts)}."]


def _median(values: Array, lost: np.ndarray) -> float:
    return float(np.median(np.where(lost | np.isnan(values), np.inf, values)))


def _lost(study: Study) -> list[str]:
    """One sentence for all that failed; inapplicable trials are told apart, for they are nobody's failure."""
    status = study.trials["status"]
    out = []
    failed = study.trials[study.lost & ~status.isin(["inapplicable", "missing"]).to_numpy()]
    if len(failed):
        counts = failed.groupby("label", sort=False).size().sort_values(ascending=False, kind="stable")
        worst = [f"{label} {count}" for label, count in counts.head(5).items()]
        out.append(
            f"{plural(len(failed), 'trial')} of {len(study.trials)} ({percent(len(failed) / len(study.trials))}) "
            f"diverged, failed or were stopped ({listed(worst)}{' among others' if len(counts) > 5 else ''}); "
            "they count as never having reached a target."
        )
    unfit = study.trials[(status == "inapplicable").to_numpy()]
    if len(unfit):
        who = [
            f"{label} on {plural(part['problem'].nunique(), 'problem')}"
            for label, part in unfit.groupby("label", sort=False)
        ]
        out.append(f"Not applicable, and counted as not reached: {listed(who)}.")
    return out


def machine(environment: dict[str, Any]) -> str:
    """The machine and versions in one line."""
    host = environment.get("machine") or {}
    memory = host.get("memory_bytes")
    parts = [str(host.get("cpu") or "unknown processor"), plural(host["cores"], "core") if host.get("cores") else ""]
    parts.append(f"{memory / 1e9:.3g} GB" if isinstance(memory, int | float) and math.isfinite(memory) else "")
    parts += [str(host.get("gpu") or "no GPU"), str(host.get("os") or "")]
    versions = [f"{name} {version}" for name, version in (environment.get("versions") or {}).items()]
    return ", ".join(part for part in parts if part) + ("; " + listed(versions) if versions else "")
