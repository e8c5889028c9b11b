"""What `optbench.recommend` answers: a setting, how good it is on seeds the search never saw, and what was tried."""

from __future__ import annotations

import html
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from optbench.core.trial import RequestError
from optbench.optimizers import OPTIMIZERS
from optbench.records.schema import Record
from optbench.registry.catalog import Catalog
from optbench.registry.specs import parse
from optbench.report.analysis.statistics import Interval, holm, median_interval, rank_sum
from optbench.report.format import between, number
from optbench.report.interactive import Comparison, Verdict
from optbench.search.halving import SHARES, Halving, Run, Tried, at_budget
from optbench.search.space import Candidate

LEFT_OUT = ("exact",)  # families that need what few problems have
LEVEL = 0.05


@dataclass(frozen=True)
class Finalist:
    """One of the best settings of the search. search: its score there. held_out: on the other seeds.

    p: of the test that the recommended setting differs from it on those seeds, corrected by Holm; NaN for itself.
    """

    label: str
    usual: bool
    search: float
    held_out: Interval
    p: float = math.nan


@dataclass(frozen=True, eq=False)
class Recommendation:
    """The answer of `optbench.recommend`. It shows itself in a notebook.

    setting: what to use, as a spec that `run` and `compare` take; the best of the search. interval: its median score on
    held-out seeds, with the interval around it. column: what the score is, such as "valid_loss"; lower is better.
    finalists: it, then the others. study: the finalists' runs on the held-out seeds. seconds: that all took.
    passes: that all trials spent.
    """

    problem: str
    column: str
    budget: float
    finalists: tuple[Finalist, ...]
    search_seeds: int
    held_out_seeds: int
    tried: tuple[Tried, ...]
    trials: int
    passes: float
    seconds: float
    asked_seconds: float
    study: Comparison

    @property
    def setting(self) -> str:
        return self.finalists[0].label

    @property
    def interval(self) -> Interval:
        return self.finalists[0].held_out

    @property
    def verdict(self) -> Verdict:
        """The answer in plain sentences."""
        best, others = self.finalists[0], self.finalists[1:]
        lines = [
            f"Use {best.label}: median {self.column} {between(best.held_out)} at {number(self.budget)} passes, over "
            f"{self.held_out_seeds} seeds that the search never saw.",
            f"On the {self.search_seeds} seeds of the search it scored {number(best.search)}. {_bias(best)}",
        ]
        lines += [_against(best, one) for one in others]
        optimizers = len({one.optimizer for one in self.tried})
        over = f", of {self.asked_seconds:g} s that were asked for" if self.asked_seconds else ""
        lines.append(
            f"{len(self.tried)} settings of {optimizers} optimizers were tried in {self.trials} trials: "
            f"{self.passes:,.0f} passes, {self.seconds:.0f} s{over}."
        )
        if len(self.tried) == optimizers:
            lines.append("The time was too short to try any setting but the usual ones; give more seconds.")
        return Verdict("\n".join(lines))

    def table(self) -> pd.DataFrame:
        """A row a setting that was tried, best first: its score at each share of the budget."""
        rows = [
            {"setting": one.label, "optimizer": one.optimizer, "usual": one.usual}
            | {f"at {share:.0%}": one.scores.get(share, math.nan) for share in SHARES}
            for one in self.tried
        ]
        table = pd.DataFrame(rows)
        by = [f"at {share:.0%}" for share in reversed(SHARES)]
        return table.sort_values(by, kind="stable", na_position="last").set_index("setting")

    def __repr__(self) -> str:
        return f"<Recommendation for {self.problem}>\n{self.verdict}"

    def _repr_html_(self) -> str:
        items = "".join(f"<li>{html.escape(line)}</li>" for line in self.verdict.splitlines())
        shown = self.table().head(10).to_html(float_format=lambda value: f"{value:.4g}", border=0, na_rep="")
        return f"<div><p><b>{html.escape(self.problem)}</b></p><ul>{items}</ul>{shown}</div>"


def _bias(best: Finalist) -> str:
    found = best.held_out.estimate
    if not math.isfinite(found):
        return "It failed on the other seeds: do not trust it."
    low, high = best.held_out.low, best.held_out.high
    if best.search < low:
        return "That is below the interval: the search chose it partly by luck, and the held-out number counts."
    if best.search > high:
        return "The other seeds went better than those."
    return "That lies within the interval: no sign that it was chosen by luck."


def _against(best: Finalist, one: Finalist) -> str:
    kind = "as it comes, " if one.usual else ""
    text = f"{one.label}, {kind}has {between(one.held_out)} on the same seeds: "
    if not one.p < LEVEL:
        return text + "not told apart from it."
    better = best.held_out.estimate < one.held_out.estimate
    return text + (f"worse beyond chance (p = {one.p:.2g})." if better else f"BETTER beyond chance (p = {one.p:.2g}).")


def candidates(specs: Sequence[str], catalog: Catalog) -> list[Candidate]:
    """Optimizers to search over; all of the table that need no optional package and no structure, where none is named.

    Raises RequestError for a name that there is not.
    """
    if not specs:
        specs = [name for name, entry in OPTIMIZERS.items() if entry.family not in LEFT_OUT and entry.extra is None]
    found: dict[str, Candidate] = {}
    for text in specs:
        for name, asked in parse(text):
            catalog.optimizer(name, asked)
            space = {hyper: values for hyper, values in catalog.space(name).items() if hyper not in asked}
            entry = OPTIMIZERS.get(name)
            one = Candidate(name, asked, space, dict(entry.settings) if entry else {})
            found.setdefault(one.label, one)
    return list(found.values())


def recommendation(
    problem: str,
    column: str,
    passes: float,
    own_work: bool,
    found: list[Candidate],
    run: Run,
    *,
    seconds: float,
    seeds: int,
    held_out: int,
    workers: int,
    folder: Path,
) -> Recommendation:
    """Search, then run the finalists on seeds of their own. own_work: whether it counts beside the problem's.

    Raises RequestError where nothing gave a finite score.
    """

    def score(record: Record, budget: float) -> float:
        return at_budget(record, column, budget, own_work)

    halving = Halving(found, run, score, passes, seeds, held_out, seconds, workers)
    try:
        chosen = halving.search()
    except ValueError as error:
        reasons = sorted({record.error for record in halving.records.values() if record.error})
        raise RequestError(f"{problem}: {error}; {'; '.join(reasons[:3]) or f'no record has {column}'}") from None
    records = run([one.label for one in chosen], passes, seeds + held_out)
    fresh = [record for record in records if record.seed >= seeds]
    values = {one.label: [score(record, passes) for record in fresh if record.label == one.label] for one in chosen}
    others = chosen[1:]
    raw = [rank_sum(values[chosen[0].label], values[one.label]) for one in others]
    p_values = holm(raw).tolist() if raw else []
    finalists = [
        Finalist(one.label, one.usual, one.final, median_interval(values[one.label]), float(p))
        for one, p in zip(chosen, [math.nan, *p_values], strict=True)
    ]
    everything = halving.records | {record.key: record for record in records}
    return Recommendation(
        problem,
        column,
        passes,
        tuple(finalists),
        seeds,
        held_out,
        tuple(halving.tried.values()),
        len(everything),
        sum(record.passes for record in everything.values() if math.isfinite(record.passes)),
        time.monotonic() - halving.began,
        seconds,
        Comparison(folder, frozenset(record.key for record in fresh)),
    )
