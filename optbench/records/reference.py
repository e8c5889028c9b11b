"""Reference results, and one's own beside them: one folder of the problems that both have."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from optbench.core.trial import RequestError
from optbench.records.files import SUITE, has_results, read_environment
from optbench.records.manifest import checked, is_submission
from optbench.records.merge import builds, join_environments
from optbench.records.reader import Results, read
from optbench.records.splits import other_splits, splits_of

PACKAGE = Path(__file__).parents[1]
# {name: its folder}: in a wheel below the package, in a checkout where it is kept
BUILT_IN = {
    name: (PACKAGE / "references" / name, PACKAGE.parent / "results" / folder)
    for name, folder in {"standard": "reference", "modern": "modern"}.items()
}
ENTRANTS = "entrants"  # in the environment of results beside a reference: the labels that are not the reference's
SAME_PROBLEM = ("dim", "train", "flops_per_pass", "start", "best", "targets", "validation")  # facts that make it up
SAME_DIGITS = 1e-5  # relative, of measured facts: other machines round differently
_PROBLEM = re.compile(rb'"problem":\s*("(?:[^"\\]|\\.)*")')


def reference(name: str) -> Path:
    """The folder of a reference: "standard" or "modern", which come with the package, or a result folder.

    A submission of an archive, ARCHIVE/NAME, serves as well; its bytes must be those that its manifest states.
    Raises RequestError where there is none, or where one was changed.
    """
    for folder in (*BUILT_IN.get(name, ()), Path(name)):
        if folder.is_dir() and (has_results(folder) or is_submission(folder)):
            if is_submission(folder):
                checked(folder)
            return folder
    raise RequestError(f"no reference {name!r}; there is {' and '.join(BUILT_IN)}, or give a result folder")


def reference_suite(name: str) -> Path:
    """The suite file that a reference was run from. Raises RequestError where it has none."""
    path = reference(name) / SUITE
    if not path.is_file():
        raise RequestError(f"the reference {name} has no {SUITE}, so its problems and budgets are not known")
    return path


def beside(own: Results, name: str) -> Results:
    """One's own results and those of a reference, on the problems that both have with the same budget.

    A trial that both hold counts as one's own. Seconds of the reference are not compared: it ran at another
    time, mostly on another machine. What is left out is noted. Raises RequestError where nothing is left.
    """
    folder = reference(name)
    others = read_environment(folder)
    stated, theirs = own.environment.get("problems") or {}, others.get("problems") or {}
    notes = list(own.notes)
    if (mine_by := builds(own.environment)) != (theirs_by := builds(others)):
        notes.append(f"{name} was made by {'; '.join(theirs_by)}, these results by {'; '.join(mine_by)}.")
    common = [problem for problem in stated if problem in theirs]
    if missing := [problem for problem in stated if problem not in theirs]:
        notes.append(
            f"Left out, for {name} does not have {'it' if len(missing) == 1 else 'them'}: {', '.join(missing)}."
        )
    if changed := [problem for problem in common if differ(stated[problem], theirs[problem])]:
        notes.append(f"Left out, for the data, the targets or the network changed since {name}: {', '.join(changed)}.")
    common = [problem for problem in common if problem not in changed]
    other = _read(folder, common)
    theirs_on = splits_of(other.trials[["problem", "seed", "split"]].to_dict("records"))
    on_others = [
        str(problem)
        for problem, trials in own.trials[own.trials["problem"].isin(common)].groupby("problem", sort=False)
        if other_splits(theirs_on, splits_of(trials[["problem", "seed", "split"]].to_dict("records")))
    ]
    if on_others:
        notes.append(f"Left out, for seeds have other splits of the data than in {name}: {', '.join(on_others)}.")
        common = [problem for problem in common if problem not in on_others]
    budgets = dict(zip(other.trials["problem"], other.trials["budget"], strict=True))
    mine = own.trials[own.trials["problem"].isin(common)]
    same = mine["budget"] == mine["problem"].map(budgets)
    if odd := [*mine.loc[~same, "problem"].drop_duplicates()]:
        wanted = ", ".join(f"{problem} {budgets[problem]:g}" for problem in odd if problem in budgets)
        notes.append(f"Trials of another budget than that of {name} are left out; its passes are: {wanted}.")
    mine = mine[same]
    if not len(mine):
        why = " ".join(notes[len(own.notes) :]) or "no problem of it has a record here."
        raise RequestError(
            f"{own.folder} shares no problem and budget with the reference {name}. {why} "
            f"`python -m optbench run --against {name} --optimizer NAME` runs what can be compared"
        )
    who = ["problem", "label", "seed"]
    left = other.trials[other.trials["problem"].isin(mine["problem"])]
    doubled = pd.MultiIndex.from_frame(left[who]).isin(pd.MultiIndex.from_frame(mine[who]))
    left = left[~doubled].assign(alone=False)
    entrants = sorted(set(mine["label"]) - set(other.trials["label"]))
    environment = _joined(own.environment, other.environment, mine, entrants, name)
    kept = [(mine, own.points), (left, other.points)]
    return Results(own.folder, *_stacked(kept), environment, [*notes, *other.notes])


def _read(folder: Path, problems: Sequence[str]) -> Results:
    """The records of some problems: lines of others are passed over before they are parsed."""
    wanted = {json.dumps(problem).encode() for problem in problems}

    def of_problems(lines: Iterator[bytes]) -> Iterator[bytes]:
        for line in lines:
            found = _PROBLEM.search(line)
            if found is None or found.group(1) in wanted:
                yield line

    return read(folder, of_problems)


def differ(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the facts of a problem on two sides are those of two problems; last digits are rounding, not facts."""
    mine, theirs = (side.get("splits") or {} for side in (one, other))  # both sides may know more splits than the other
    if bool(mine) != bool(theirs):
        return True
    pairs = [(one, other), *((mine[split], theirs[split]) for split in mine.keys() & theirs.keys())]
    return any(not _alike(a.get(key), b.get(key)) for a, b in pairs for key in SAME_PROBLEM)


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(value, other[key]) for key, value in one.items())
    if isinstance(one, float) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=SAME_DIGITS) or (math.isnan(one) and math.isnan(other))
    return bool(one == other)


def _joined(
    own: dict[str, Any], other: dict[str, Any], mine: pd.DataFrame, entrants: Sequence[str], name: str
) -> dict[str, Any]:
    """The environment of both: one's own machine and plan, the reference's groups, the tuning of both."""
    problems = set(mine["problem"])
    own = {**own, "plan": [trial for trial in own.get("plan", []) if trial["key"] in set(mine["key"])]}
    if other.get("tuning") and not own.get("tuning"):
        why = "fixes its settings, for the run did not tune"
        competitors = {
            label: {"optimizer": optimizer, "space": {}, "why": why}
            for label, optimizer in mine[["label", "optimizer"]].drop_duplicates().to_numpy()
        }
        own["tuning"] = {**other["tuning"], "competitors": competitors}
    joined = join_environments([own, other])
    joined["problems"] = {problem: fact for problem, fact in joined["problems"].items() if problem in problems}
    suite = own.get("suite") or own.get("name") or "results"
    return joined | {"groups": other.get("groups") or {}, "suite": f"{suite} beside {name}", ENTRANTS: list(entrants)}


def _stacked(parts: Sequence[tuple[pd.DataFrame, pd.DataFrame]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(trials, points) of several tables as one: rows numbered anew."""
    tables, curves, before = [], [], 0
    for trials, points in parts:
        numbers = pd.Series(range(before, before + len(trials)), index=trials.index)
        curve = points[points["trial"].isin(trials.index)]
        curves.append(curve.assign(trial=curve["trial"].map(numbers).astype(int)))
        tables.append(trials)
        before += len(trials)
    return pd.concat(tables, ignore_index=True), pd.concat(curves, ignore_index=True)
