"""One or more result folders, read and put side by side as one study."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from optbench.records.analysis import Analysis
from optbench.records.reader import Results
from optbench.records.schema import clean
from optbench.records.splits import fact_of, with_splits
from optbench.report.analysis import timings
from optbench.report.analysis.budget import SECONDS, add_goal, goal_question, in_unit, unit_of
from optbench.report.analysis.final_points import RETURNED
from optbench.report.analysis.lowest_seen import with_lowest_seen
from optbench.report.analysis.question import TRAINING, VALIDATION
from optbench.report.analysis.splits import divisions, refuse_other_splits
from optbench.report.analysis.study import ORACLE, TOTAL, TUNED, UNTUNED, Study, bounds_of


def load_study(
    folders: Sequence[Results],
    axis: str = TOTAL,
    scored: str = RETURNED,
    stated: tuple[Analysis, int, Sequence[str]] | None = None,
) -> Study:
    """Put folders side by side. With several, a label carries its folder's name, so that none are pooled.

    folders: what `optbench.records.reader.read` returned, at least one. The first is the base of a comparison. axis:
    what a pass counts; without any record of own work it is the problem's work alone, whatever is asked for. scored:
    which point of its curve stands for a trial at the budget, `RETURNED` or `BEST`. stated: the analysis that the suite
    states, how many trials had ended by then, and how this report departs from it; its targets, its share of the budget
    and its level are followed. Raises RequestError where folders have a seed on different splits of the data.
    """
    refuse_other_splits(folders)
    names = _names(folders)
    notes: list[str] = []
    tables, points, offset = [], [], 0
    facts: dict[str, dict[str, Any]] = {}
    families: dict[str, str] = {}
    marks: dict[str, str] = {}
    for name, results in zip(names, folders, strict=True):
        mark = f"{name}: " if len(folders) > 1 else ""
        notes += [mark + note for note in results.notes]
        trials, rest = _unique(results, mark, notes)
        trials["folder"], trials["plain"] = name, trials["label"]
        suffix = _suffix(trials, name if len(folders) > 1 else "")
        trials["label"] += suffix
        tuned, whys = _tuned(results.environment)
        trials["competitor"] = pd.Series([tuned.get(name, name) for name in trials["plain"]], dtype=str) + suffix
        trials["given"] = trials["plain"].isin(whys) & trials["plain"].isin(tuned)
        for label, plain, competitor in trials[["label", "plain", "competitor"]].drop_duplicates().to_numpy():
            if plain in whys:
                marks[label] = f"{UNTUNED}: {whys[plain]}"
            if competitor != label:
                marks[competitor] = TUNED
        kinds = results.environment.get("optimizers") or {}
        for label, optimizer in zip(trials["label"], trials["optimizer"], strict=True):
            families.setdefault(label, str((kinds.get(optimizer) or {}).get("family", "plugin")))
        for problem, fact in (results.environment.get("problems") or {}).items():
            known = facts[problem] = with_splits(facts.get(problem, fact), fact)
            if known.get("targets") != fact.get("targets"):
                notes.append(f"{problem}: the folders state different targets; those of {names[0]} are used for both.")
        rest["trial"] = rest["trial"] + offset
        offset += len(trials)
        tables.append(trials)
        points.append(rest)
    table, curves = _stacked(tables), _stacked(points)
    if "own_flops" not in curves or curves["own_flops"].isna().all():
        axis = ORACLE
    environments = [results.environment for results in folders]
    unit = unit_of(environments)
    if unit == SECONDS:
        axis = ORACLE  # what an optimizer does by itself takes time like all else
    if axis == TOTAL:
        _add_own_work(table, curves, facts)
    in_unit(unit, table, curves, facts, float((environments[0].get("budget") or {}).get("amount", math.nan)))
    if goal_question(environments):
        add_goal(curves, environments, facts)
    facts = with_lowest_seen(facts, table, curves)
    if stated:
        curves = _at_share(table, curves, stated[0].budget)
        facts = _with_targets(facts, stated[0])
    curves["clock"], table["comparable"] = timings.clock(table, curves, bounds_of(curves, len(table)))
    if unit == SECONDS and not bool(table["alone"].fillna(False).all()):
        notes.append("Trials shared the machine, so each got less done in a second than it would have alone.")
    groups = {name: members for one in environments for name, members in (one.get("groups") or {}).items()}
    parts = names, table, curves, facts, families, environments, tuple(notes), marks
    study = Study(*parts, axis=axis, unit=unit, groups=groups, followed=stated)
    study = replace(study, alpha=stated[0].alpha) if stated else study
    return study.scored_at(scored)


def _at_share(trials: pd.DataFrame, points: pd.DataFrame, share: float) -> pd.DataFrame:
    """The curves up to a share of each budget, which becomes the budget; each keeps its start."""
    if share == 1:
        return points
    trials["budget"] *= share
    owner = points["trial"].to_numpy()
    first = np.ones(len(points), dtype=bool)
    first[1:] = owner[1:] != owner[:-1]
    within = points["passes"].to_numpy(dtype=float) <= trials["budget"].to_numpy(dtype=float)[owner] * (1 + 1e-9)
    return points[first | within].reset_index(drop=True)


def _with_targets(facts: Mapping[str, dict[str, Any]], analysis: Analysis) -> dict[str, dict[str, Any]]:
    """The facts of problems with the targets of an analysis alone, on the loss that it asks for."""
    if not analysis.targets:
        return dict(facts)

    def kept(goal: Mapping[str, Any]) -> dict[str, Any]:
        found = goal.get("targets") or {}
        return {**goal, "targets": {tau: value for tau, value in found.items() if float(tau) in analysis.targets}}

    out = {}
    for name, fact in facts.items():
        training = analysis.question == TRAINING.name
        own = kept(fact) if training else {**fact}
        if not training and isinstance(fact.get(VALIDATION.facts), Mapping):
            own[VALIDATION.facts] = kept(fact[VALIDATION.facts])
        if fact.get("splits"):
            own["splits"] = _with_targets(fact["splits"], analysis)
        out[name] = own
    return out


def _add_own_work(trials: pd.DataFrame, points: pd.DataFrame, facts: Mapping[str, dict[str, Any]]) -> None:
    """Let `passes` count the optimizer's own work too, where a pass is FLOPs and not an evaluation.

    An evaluation of a test function stands for something expensive, so there nothing is added. A trial without a count
    of its own work keeps what the problem was asked for.
    """
    pairs, place = divisions(trials)
    of_each = [fact_of(facts.get(name, {}), split) for name, split in pairs]
    cost = [float(fact.get("flops_per_pass") or 0) for fact in of_each]
    counted = [a > float(fact.get("train") or 0) for a, fact in zip(cost, of_each, strict=True)]
    a_pass = np.array([a if so else np.inf for a, so in zip(cost, counted, strict=True)], dtype=float)[place]
    trials["passes"] = trials["passes"] + (trials["own_flops"] / a_pass).fillna(0.0)
    points["passes"] = points["passes"] + (points["own_flops"] / a_pass[points["trial"].to_numpy()]).fillna(0.0)


def _tuned(environment: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """{a setting's label: the tuned optimizer it belongs to}, {a label: why it is not tuned}, as the run stated it."""
    found = (environment.get("tuning") or {}).get("competitors") or {}
    tuned = {
        label: f"{name} (tuned, {len(one['labels'])})"
        for name, one in found.items()
        for label in one.get("labels") or []
    }
    return tuned, {name: str(one["why"]) for name, one in found.items() if one.get("why")}


def _names(folders: Sequence[Results]) -> list[str]:
    """Short folder names, made unique."""
    names = [clean(results.folder.resolve().name) for results in folders]
    if len(set(names)) == len(names):
        return names
    return [f"{chr(ord('A') + k)}:{name}" for k, name in enumerate(names)]


def _suffix(trials: pd.DataFrame, folder: str) -> pd.Series:
    """What a label needs to be told apart: the device where there are several, and the folder."""
    devices = trials["device"].dropna().unique()
    device = " @" + trials["device"].astype(str) if len(devices) > 1 else pd.Series("", index=trials.index)
    return device + (f" ({folder})" if folder else "")


def _stacked(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The tables below each other; one alone is not copied, for curves are most of the memory."""
    return pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0].reset_index(drop=True)


def _unique(results: Results, mark: str, notes: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One trial a (problem, label, seed, device): the planned one, else that of the largest budget.

    A folder that was run again with other budgets holds both; pooling them would count a seed twice.
    """
    trials = results.trials
    planned = trials["key"].isin({entry["key"] for entry in results.environment.get("plan", [])})
    if len(trials[["problem", "seed", "split"]].drop_duplicates()) > len(trials[["problem", "seed"]].drop_duplicates()):
        notes.append(f"{mark}Seeds of a problem are on several splits of its data; those that are planned count.")
    order = pd.DataFrame({"planned": planned, "budget": trials["budget"]}).sort_values(["planned", "budget"]).index
    who = ["problem", "label", "seed", "device"]
    keep = trials.loc[order, who].drop_duplicates(keep="last").index.sort_values()
    if len(keep) == len(trials):
        return trials.copy(), results.points.copy(deep=False)
    notes.append(f"{mark}{len(trials) - len(keep)} trial(s) of another budget are left out: one a seed counts.")
    new = pd.Series(np.arange(len(keep)), index=keep)
    points = results.points[results.points["trial"].isin(keep)].copy()
    points["trial"] = points["trial"].map(new).astype(int)
    return trials.loc[keep].reset_index(drop=True), points
