"""How the order changes with another mean, another budget, a problem or a group left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
from helpers.pages import unfolded
from helpers.synthetic import Runner, make

from optbench import report
from optbench.records.reader import read
from optbench.report.analysis.load import load_study
from optbench.report.analysis.ranking import Ranking
from optbench.report.analysis.robustness import orders, without

FOUR = [f"p{k}" for k in range(4)]


def ranking(folder: Path, runners: dict[str, Runner], problems: Any = FOUR) -> Ranking:
    make(folder, runners, problems, points=60)
    return Ranking(load_study([read(folder)]))


def places(one: Ranking) -> pd.DataFrame:
    return orders(one).set_index("label")


def test_a_lead_that_rests_on_few_problems_is_shown(tmp_path: Path) -> None:
    """One is best by far on two problems of four, the other better on the rest."""
    narrow = Runner(rate=3.0, noise=0.0, rates={"p0": 30.0, "p1": 30.0})
    even = Runner(rate=6.0, noise=0.0)
    found = ranking(tmp_path, {"narrow": narrow, "even": even})
    table = places(found)
    leader, other = found.order
    assert table.loc[leader, "iqm"] == 1 and table.loc[other, "iqm"] == 2
    assert table.loc["narrow", "without_best"] == 1 and table.loc["narrow", "without_worst"] == 2
    turned = {unit for unit, place in without(found).items() if place["narrow"] == 2}
    assert turned == {"p0", "p1"}  # without either of the two the lead is gone


def test_the_mean_and_the_iqm_may_disagree(tmp_path: Path) -> None:
    """The IQM trims the one problem on which the other does very well."""
    eight = [f"p{k}" for k in range(8)]
    runners = {"steady": Runner(3.3, noise=0.0), "spiky": Runner(3.0, noise=0.0, rates={"p0": 300.0})}
    table = places(ranking(tmp_path, runners, eight))
    assert table.loc["steady", "iqm"] == 1 and table.loc["spiky", "mean"] == 1


def test_a_group_is_left_out_as_one(tmp_path: Path) -> None:
    make(tmp_path, {"a": Runner(3.0), "b": Runner(4.0)}, FOUR)
    path = tmp_path / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"groups": {"pair": ["p0", "p1"]}}))
    assert [*without(Ranking(load_study([read(tmp_path)])))] == ["pair", "p2", "p3"]


def test_at_a_part_of_the_budget_only_what_is_reached_by_then_counts(tmp_path: Path) -> None:
    """Who is very fast on half of the problems leads early; who gets everywhere in the end leads late."""
    fast = dict.fromkeys(FOUR[:2], 14.0) | dict.fromkeys(FOUR[2:], 0.2)
    found = ranking(tmp_path, {"sprints": Runner(noise=0.0, rates=fast), "lasts": Runner(rate=6.0, noise=0.0)})
    table = places(found)
    assert table.loc["lasts", "iqm"] == 1 and table.loc["sprints", "iqm"] == 2
    assert table.loc["sprints", "budget_0.1"] == 1 and table.loc["lasts", "budget_0.1"] == 2
    assert found.study.trials["budget"].unique().tolist() == [100.0]  # the study itself is as it was


def test_equals_share_a_place(tmp_path: Path) -> None:
    table = places(ranking(tmp_path, {"a": Runner(noise=0.0), "b": Runner(noise=0.0)}))
    assert table["iqm"].tolist() == [1, 1] and table["without_worst"].tolist() == [1, 1]


def test_two_problems_are_too_few_to_leave_one_out(tmp_path: Path) -> None:
    assert without(ranking(tmp_path, {"a": Runner(), "b": Runner(2.0)}, FOUR[:2])) == {}


def test_the_page_says_who_would_lead_otherwise(tmp_path: Path) -> None:
    narrow = Runner(rate=3.0, noise=0.0, rates={"p0": 30.0, "p1": 30.0})
    make(tmp_path, {"narrow": narrow, "even": Runner(rate=6.0, noise=0.0)}, FOUR, points=60)
    page = unfolded(report.write([tmp_path]).html)
    assert "narrow has the highest score. Leaving out p0 or p1 puts even in its place." in page
    assert len(pd.read_csv(tmp_path / "tables" / "orders.csv")) == 2
