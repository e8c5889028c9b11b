"""Successive halving over optimizers and their settings, within a time.

Jamieson & Talwalkar (2016), "Non-stochastic best arm identification and hyperparameter optimization": many settings
get a ninth of the budget, the best third of them a third of it, the best third of those all of it. The first bracket is
every optimizer as it comes; the settings of later ones are suggested by Optuna's TPE (Bergstra et al. 2011), which is
told every score. A setting is trained anew at each budget, since schedules depend on it.
"""

from __future__ import annotations

import math
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from optbench.core.trial import FAILED
from optbench.records.schema import Record
from optbench.search.space import OPTIMIZER, Candidate, distributions

REDUCTION = 3  # of settings from one budget to the next; budgets grow as much
SHARES = (1 / 9, 1 / 3, 1.0)  # of the budget
BRACKET = 9  # settings of a bracket after the first
ROOM = 1.1  # of the budget: what an optimizer computes by itself counts too, and checkpoints lie apart
FINALISTS = 3

Run = Callable[[Sequence[str], float, int], list[Record]]  # (specs, passes, seeds) -> records of all


@dataclass
class Tried:
    """A setting, with its score at every share of the budget that it got. Scores are medians over seeds."""

    label: str
    optimizer: str
    usual: bool  # it is an optimizer as it comes
    scores: dict[float, float] = field(default_factory=dict)
    seconds: float = 0.0  # that a worker took for one trial at the full budget, or would take
    trial: Any = None  # Optuna's, where it suggested the setting

    @property
    def final(self) -> float:
        """The score at the full budget; infinite where it did not get that far."""
        return self.scores.get(1.0, math.inf)


@dataclass
class Halving:
    """The search. run: trains settings. score: of a record, lower is better, infinite where it failed."""

    candidates: list[Candidate]
    run: Run
    score: Callable[[Record, float], float]
    passes: float
    seeds: int
    held_out: int
    seconds: float
    workers: int
    tried: dict[str, Tried] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    def search(self, seed: int = 0) -> list[Tried]:
        """The best settings at the full budget, best first, at most FINALISTS; one at least ran as it comes.

        Raises ValueError where no setting gave a finite score.
        """
        with _quiet():
            study = _study(seed)
            known = distributions(self.candidates)
            first = [Tried(one.label, one.label, True) for one in self.candidates]
            self._bracket(first)
            for candidate, one in zip(self.candidates, first, strict=True):
                if candidate.space:
                    study.add_trial(_done(one, candidate, known))
            while any(one.space for one in self.candidates) and self._time_for_another():
                self._bracket(self._suggested(study))
                self._tell(study)
        ranked = sorted((one for one in self.tried.values() if math.isfinite(one.final)), key=lambda one: one.final)
        if not ranked:
            raise ValueError("no setting gave a finite score")
        chosen = ranked[:FINALISTS]
        usual = [one for one in ranked if one.usual]
        if usual and not any(one.usual for one in chosen):
            chosen = [*chosen[: FINALISTS - 1], usual[0]]
        return chosen

    def _bracket(self, settings: Sequence[Tried]) -> None:
        """Train settings at growing budgets, and ever fewer of them."""
        left = [one for one in settings if one.label not in self.tried]
        self.tried |= {one.label: one for one in left}
        for share in SHARES:
            if not left:
                return
            self._rung(left, share)
            alive = sorted((one for one in left if math.isfinite(one.scores[share])), key=lambda one: one.scores[share])
            left = alive[: max(1, round(len(left) / REDUCTION))]

    def _rung(self, settings: Sequence[Tried], share: float) -> None:
        passes = self.passes * share
        found = self.run([one.label for one in settings], passes, self.seeds)
        self.records |= {record.key: record for record in found}
        for one in settings:
            mine = [record for record in found if record.label == one.label]
            one.scores[share] = statistics.median(self.score(record, passes) for record in mine)
            one.seconds = statistics.fmean(record.wall_seconds for record in mine) / share

    def _suggested(self, study: Any) -> list[Tried]:
        out: dict[str, Tried] = {}
        by_label = {one.label: one for one in self.candidates}
        for _ in range(4 * BRACKET):  # a small space soon repeats itself
            trial = study.ask()
            name = trial.suggest_categorical(OPTIMIZER, [one.label for one in self.candidates if one.space])
            label = by_label[name].drawn(trial)
            if label in self.tried or label in out:
                study.tell(trial, state=_state("FAIL"))
                continue
            out[label] = Tried(label, name, False, trial=trial)
            if len(out) == BRACKET:
                break
        return list(out.values())

    def _tell(self, study: Any) -> None:
        """What the settings of the last bracket scored; those that were left behind count as pruned."""
        for one in self.tried.values():
            if one.trial is None:
                continue
            for step, share in enumerate(SHARES):
                if math.isfinite(one.scores.get(share, math.inf)):
                    one.trial.report(one.scores[share], step)
            if math.isfinite(one.final):
                study.tell(one.trial, one.final)
            else:
                study.tell(one.trial, state=_state("PRUNED"))
            one.trial = None

    def _time_for_another(self) -> bool:
        """Whether another bracket and the held-out runs fit into the time that is left."""
        typical = statistics.median(one.seconds for one in self.tried.values() if math.isfinite(one.final))
        whole = sum(BRACKET / REDUCTION**k * share for k, share in enumerate(SHARES))  # settings at the full budget
        bracket = typical * whole * self.seeds / self.workers + 2.0 * len(SHARES)  # and starting workers
        last = typical * FINALISTS * self.held_out / self.workers + 2.0
        return time.monotonic() - self.began + bracket + last <= self.seconds


def at_budget(record: Record, column: str, budget: float, own_work: bool) -> float:
    """The value at the last checkpoint within the budget, what the optimizer computes by itself included.

    Infinite for a trial that failed, diverged, does not apply or has no such value.
    """
    if record.status in (*FAILED, "inapplicable") or not record.curve:
        return math.inf
    flops_per_pass = record.flops / record.passes if own_work and record.passes > 0 and record.flops else math.inf
    value = record.curve[0].get(column, math.inf)
    for point in record.curve[1:]:
        if point["passes"] + (point.get("own_flops") or 0.0) / flops_per_pass <= ROOM * budget:
            value = point.get(column, math.inf)
    return value if math.isfinite(value) else math.inf


def _study(seed: int) -> Any:
    import optuna

    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=1)
    return optuna.create_study(direction="minimize", sampler=sampler)


def _done(one: Tried, candidate: Candidate, known: Mapping[str, Any]) -> Any:
    """An optimizer as it comes, as a trial that Optuna takes as seen."""
    import optuna

    params = {OPTIMIZER: candidate.label} | candidate.known(known)
    steps = {k: one.scores[share] for k, share in enumerate(SHARES) if math.isfinite(one.scores.get(share, math.inf))}
    ended = math.isfinite(one.final)
    return optuna.trial.create_trial(
        state=_state("COMPLETE" if ended else "PRUNED" if steps else "FAIL"),
        value=one.final if ended else None,
        params=params,
        distributions={name: known[name] for name in params},
        intermediate_values=steps,
    )


def _state(name: str) -> Any:
    import optuna

    return optuna.trial.TrialState[name]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's log and its warnings of what is experimental."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
