"""Everything that is computed from a study before a word is written or a line is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from optbench.report.analysis import (
    cells,
    certificates,
    comparison,
    leave_out,
    power,
    price,
    seed_noise,
    seeds,
    selection,
    time_spent,
    tuning,
)
from optbench.report.analysis.budget import goal_question
from optbench.report.analysis.final_points import BEST, RETURNED
from optbench.report.analysis.question import TRAINING, VALIDATION
from optbench.report.analysis.ranking import Ranking
from optbench.report.analysis.study import Study


@dataclass(frozen=True)
class Findings:
    """The numbers of a report, each computed once, when a section first asks for it.

    study: a label a competitor. settings: a label a setting that was tried; the same study where nothing was tuned.
    choices: a row a (problem, tuned optimizer). chosen: which trials of `settings` are reported, where it was tuned.
    mixed: tuned and untuned optimizers are ranked together.
    More than ten public names, for each table of the page is one.
    """

    study: Study
    settings: Study
    choices: pd.DataFrame
    chosen: np.ndarray | None

    mixed: bool = False

    @cached_property
    def ranking(self) -> Ranking:
        """Who is better than whom."""
        return Ranking(self.study, self.mixed)

    @cached_property
    def generalising(self) -> Findings | None:
        """The other question: chosen and scored on validation. None where no problem states targets on validation."""
        if self.study.question != TRAINING:
            return None
        asked = self.settings.asked(VALIDATION)
        return findings(asked, self.mixed) if len(asked.trials) else None

    @cached_property
    def as_stated(self) -> Findings:
        """On the question that the suite stated beforehand, where it stated one that can be answered; else these."""
        stated = self.study.followed
        if stated is not None and stated[0].question == VALIDATION.name and self.generalising is not None:
            return self.generalising
        return self

    @cached_property
    def scored_otherwise(self) -> Findings:
        """The same question by the other rule: every trial at the best point of its curve in place of the one that it
        returned, or the other way round; settings are chosen by that rule too.
        """
        other = RETURNED if self.settings.scored == BEST else BEST
        return findings(self.settings.scored_at(other), self.mixed)

    @cached_property
    def left_out(self) -> pd.DataFrame:
        """Which claims rest on one problem, group, track or target, a row a part."""
        return leave_out.leave_out(self.ranking)

    @cached_property
    def power(self) -> pd.DataFrame:
        """What difference could have been found, a row a pair with the leader."""
        return power.power(self.ranking)

    @cached_property
    def seed_noise(self) -> pd.DataFrame:
        """How much seeds differ, a row a problem."""
        return seed_noise.seed_noise(self.ranking)

    @cached_property
    def goal(self) -> Findings | None:
        """The same trials, asked who reached the goal that ended them; None where they had none."""
        asked = goal_question(self.study.environments)
        if asked is None or self.study.question != TRAINING:
            return None
        return findings(self.settings.asked(asked), self.mixed)

    @cached_property
    def one_problem(self) -> seeds.OneProblem | None:
        """The only problem, compared over seeds; None for several problems."""
        return seeds.one_problem(self.study)

    @cached_property
    def comparison(self) -> comparison.Comparison | None:
        """Later folders against the first; None for one folder."""
        return comparison.compare(self.study)

    @cached_property
    def costs(self) -> pd.DataFrame:
        """Cost to target, a row a (problem, label, target)."""
        return cells.costs(self.study)

    @cached_property
    def finals(self) -> pd.DataFrame:
        """Losses and metrics at the budget, a row a cell."""
        return cells.finals(self.study)

    @cached_property
    def speeds(self) -> pd.DataFrame:
        """Rates and memory, a row a cell that ran."""
        return cells.speeds(self.study, self.settings)

    @cached_property
    def prices(self) -> pd.DataFrame:
        """What a step costs, a row a cell that evaluated anything."""
        return price.prices(self.study)

    @cached_property
    def statuses(self) -> pd.DataFrame:
        """How trials ended, a row a cell."""
        return cells.statuses(self.study)

    @cached_property
    def certificates(self) -> pd.DataFrame:
        """What was proved, a row a certificate."""
        return certificates.certificates(self.study)

    @cached_property
    def worker_time(self) -> pd.DataFrame:
        """Where the time went, a row a (problem, competitor)."""
        return time_spent.worker_time(self.settings)

    @cached_property
    def tried(self) -> pd.DataFrame:
        """A row a (problem, optimizer, setting) of optimizers with several settings."""
        return tuning.settings(self.settings)

    @cached_property
    def best_of_k(self) -> pd.DataFrame:
        """Expected best of k settings, a row a (problem, optimizer, k)."""
        return tuning.best_of_k(self.tried)

    @cached_property
    def score_by_cost(self) -> pd.DataFrame:
        """Expected score with the best of k settings against what trying them costs, a row an (optimizer, k)."""
        return tuning.score_by_cost(self.tried)


def findings(settings: Study, mixed: bool = False) -> Findings:
    """Choose the settings of tuned optimizers; everything else is computed on demand."""
    chosen = selection.select(settings)
    return Findings(chosen.study, settings, chosen.table, chosen.chosen, mixed)
