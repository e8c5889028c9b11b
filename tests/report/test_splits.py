"""A report on several splits of the data: each trial is measured on its own, and intervals cover them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.pages import unfolded
from helpers.synthetic import Runner, make, problem_facts

from optbench import report
from optbench.core.trial import LOWEST_SEEN, Trial
from optbench.records.reader import read
from optbench.report.analysis.certificates import certificates
from optbench.report.analysis.findings import findings
from optbench.report.analysis.load import load_study
from optbench.report.analysis.study import Study

EFFECT = (1.0, 4.0, 2.0)  # by split: what losses, starts and best losses are multiplied with


def made(folder: Path, splits: int, seeds: int = 6, harder: Sequence[float] = (0.0, 0.0, 0.0), **more: Any) -> Path:
    """A folder of "bowl" and "valley" as a run on splits leaves it. harder: decades less, by split, that trials get."""
    runners = more.pop("runners", {"fast": Runner(rate=2.2, noise=0.05), "slow": Runner(rate=1.2, noise=0.05)})
    records = make(folder, runners, seeds=seeds, points=40, **more)
    plan, lines = [], []
    for record in records:
        split = record.seed % splits
        trial = Trial(record.problem, record.optimizer, (), record.seed, record.budget, split=split)
        record.key, record.split = trial.key, split
        for point in record.curve:
            slower = 10.0 ** (harder[split] * point["passes"] / record.budget)
            for name in ("loss", "valid_loss", "test_loss"):
                point[name] *= EFFECT[split] * slower
        lines.append(record.line())
        plan.append({**trial.as_data(), "hyper": {}, "budget": trial.passes, "key": trial.key})
    facts = json.loads((folder / "environment.json").read_text())
    facts["plan"] = plan
    for fact in facts["problems"].values():
        fact["splits"] = {str(k): {"train": 200, **goal(2.0 * EFFECT[k], 0.0)} for k in range(1, splits)}
    (folder / "environment.json").write_text(json.dumps(facts))
    (folder / "records.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def goal(start: float, best: float) -> dict[str, Any]:
    found = problem_facts(best, start)
    return {name: found[name] for name in ("start", "best", "targets", "flops_per_pass")}


def study_of(folder: Path) -> Study:
    return load_study([read(folder)])


def test_each_trial_is_measured_on_the_targets_of_its_own_split(tmp_path: Path) -> None:
    """Losses of a split are a multiple of another's, and so are its targets: seeds reach them at the same cost."""
    plain, several = study_of(made(tmp_path / "a", 1)), study_of(made(tmp_path / "b", 3))
    np.testing.assert_allclose(several.passes_to, plain.passes_to)
    np.testing.assert_allclose(several.score, plain.score)
    np.testing.assert_allclose(several.trials["left"], plain.trials["left"])
    assert several.splits == {"bowl": [0, 1, 2], "valley": [0, 1, 2]}
    assert several.target("bowl", 0.1) == pytest.approx(0.4)  # the median of 0.2, 0.8 and 0.4


def test_a_split_that_nobody_states_has_no_targets(tmp_path: Path) -> None:
    folder = made(tmp_path / "a", 3)
    facts = json.loads((folder / "environment.json").read_text())
    del facts["problems"]["bowl"]["splits"]["1"]
    (folder / "environment.json").write_text(json.dumps(facts))
    study = study_of(folder)
    unknown = ((study.trials["problem"] == "bowl") & (study.trials["split"] == 1)).to_numpy()
    assert np.isnan(study.score[unknown]).all() and np.isfinite(study.score[~unknown]).all()
    assert not np.isfinite(study.passes_to[unknown]).any()
    report.write([folder])


def test_the_lowest_loss_seen_is_that_of_the_split(tmp_path: Path) -> None:
    folder = made(tmp_path / "a", 3)
    facts = json.loads((folder / "environment.json").read_text())
    for k in ("1", "2"):
        open_goal = {"best": {"value": None, "source": LOWEST_SEEN}, "targets": {}, "taus": [0.1, 0.01]}
        facts["problems"]["bowl"]["splits"][k] |= open_goal
    (folder / "environment.json").write_text(json.dumps(facts))
    study = study_of(folder)
    trials = study.trials[study.trials["problem"] == "bowl"]
    for split in (1, 2):
        own = trials[trials["split"] == split]
        assert own["best"].unique() == pytest.approx([own["lowest"].min()])
    assert trials.loc[trials["split"] == 0, "best"].unique() == [0.0]
    assert study.best("bowl")[1] == "of each split" and study.best("valley") == (0.0, "optimum")
    written = report.write([folder])
    assert any(f"of bowl are measured from the {LOWEST_SEEN}" in text for text in written.verdict)
    assert LOWEST_SEEN in (folder / "tables" / "costs.csv").read_text()


def test_a_split_on_which_nobody_left_the_start_is_a_miss_for_all(tmp_path: Path) -> None:
    folder = made(tmp_path / "a", 3)
    facts = json.loads((folder / "environment.json").read_text())
    for fact in facts["problems"].values():
        fact["splits"]["1"] |= {
            "start": 1e-9,
            "best": {"value": None, "source": LOWEST_SEEN},
            "targets": {},
            "taus": [0.1],
        }
    (folder / "environment.json").write_text(json.dumps(facts))
    study = study_of(folder)
    assert (study.score[(study.trials["split"] == 1).to_numpy()] == 0).all() and np.isfinite(study.score).all()
    assert report.write([folder]).verdict


def test_intervals_widen_where_splits_differ(tmp_path: Path) -> None:
    """The same seeds and noise: a split on which all are slower is seen only where seeds have it."""
    one = findings(study_of(made(tmp_path / "a", 1)))
    alike = findings(study_of(made(tmp_path / "b", 3)))
    apart = findings(study_of(made(tmp_path / "c", 3, harder=(0.0, 0.8, 0.4))))
    for label in ("fast", "slow"):
        width = [found.ranking.iqm[label].high - found.ranking.iqm[label].low for found in (one, alike, apart)]
        assert width[0] == pytest.approx(width[1]) and width[2] > 2 * width[1]
    losses = [found.finals.set_index(["problem", "label"]).loc[("bowl", "fast")] for found in (alike, apart)]
    spread = [row["left_high"] / row["left_low"] for row in losses]
    assert spread[1] > 2 * spread[0]


@pytest.mark.parametrize(
    ("splits", "seeds", "said"),
    [
        (1, 3, "All seeds have one split of each problem's data, so intervals say nothing of others."),
        (3, 3, "Seeds have 3 splits of the data of bowl and valley, so intervals cover the split as well as the seed."),
        (3, 6, "Seeds that share a split are not independent draws of it: with as many splits as seeds none do."),
    ],
)
def test_the_page_says_on_how_many_splits_it_rests(splits: int, seeds: int, said: str, tmp_path: Path) -> None:
    written = report.write([made(tmp_path / "a", splits, seeds)])
    assert any(said in text for text in written.verdict), written.verdict
    assert ("not independent" in " ".join(written.verdict)) == (seeds > splits > 1)
    assert ("3 such splits of the data" in unfolded(written.html)) == (splits == 3)


def test_seeds_that_are_on_two_splits_in_one_folder_are_told(tmp_path: Path) -> None:
    folder, other = made(tmp_path / "a", 3), made(tmp_path / "b", 1)
    with (folder / "records.jsonl").open("a") as file:
        file.writelines(other.joinpath("records.jsonl").read_text().splitlines(keepends=True))
    results = read(folder)
    study = load_study([results])
    assert any("several splits" in note for note in study.notes)
    assert len(study.trials) == 24 and study.splits["bowl"] == [0, 1, 2]


def test_a_bound_on_one_split_is_not_contradicted_by_a_loss_on_another(tmp_path: Path) -> None:
    proof = {"lower": 0.05, "upper": 0.05, "scope": "continuous weights", "exact": True}
    runners = {"fast": Runner(rate=2.2, noise=0.0), "dp": Runner(rate=1.2, noise=0.0, certificate=proof)}
    folder = made(tmp_path / "a", 3, seeds=3, runners=runners)
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    for line in lines:
        if line.get("split", 0) != 1:
            line["certificate"] = None  # left on split 1, where the lowest loss is four times that of split 0
    (folder / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = certificates(study_of(folder))
    assert set(found["split"]) == {1} and not found["contradicted"].any()
    lowest = study_of(folder).trials["lowest"].min()
    assert lowest < 0.05  # on split 0
