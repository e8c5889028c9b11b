"""A best loss that nobody states is the lowest of the study: filled in, said, found anew when folders are joined."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.pages import parts
from helpers.synthetic import Runner, make, problem_facts

from optbench import report
from optbench.core.trial import LOWEST_SEEN
from optbench.records.reader import read
from optbench.report.analysis.load import load_study


def open_facts() -> dict[str, Any]:
    """A problem as a run states it whose author knows no best loss."""
    goal = {"start": 2.0, "best": {"value": None, "source": LOWEST_SEEN}, "targets": {}, "taus": [0.5, 0.1, 0.01]}
    return {**problem_facts(), **goal, "validation": goal}


def made(folder: Path, rate: float, label: str = "fast") -> Path:
    make(folder, {label: Runner(rate=rate, noise=0.0), "slow": Runner(rate=0.5, noise=0.0)}, seeds=3, points=30)
    facts = json.loads((folder / "environment.json").read_text())
    facts["problems"] = {"bowl": open_facts(), "valley": problem_facts()}
    (folder / "environment.json").write_text(json.dumps(facts))
    return folder


def test_targets_are_shares_of_the_way_to_the_lowest_loss_of_any_trial(tmp_path: Path) -> None:
    study = load_study([read(made(tmp_path / "a", 2.0))])
    lowest = float(study.trials.loc[study.trials["problem"] == "bowl", "lowest"].min())
    assert study.best("bowl") == (lowest, LOWEST_SEEN) and lowest == pytest.approx(0.02)
    assert study.target("bowl", 0.1) == pytest.approx(lowest + 0.1 * (2.0 - lowest))
    assert study.best("valley") == (0.0, "optimum")
    valid = study.facts["bowl"]["validation"]["best"]["value"]
    assert valid == pytest.approx(1.1 * lowest)


def test_joined_folders_have_one_lowest_loss(tmp_path: Path) -> None:
    one, two = made(tmp_path / "one", 2.0), made(tmp_path / "two", 4.0, "faster")
    alone, joined = load_study([read(one)]), load_study([read(one), read(two)])
    assert joined.best("bowl")[0] < 0.02 * alone.best("bowl")[0]
    assert joined.target("bowl", 0.01) < alone.target("bowl", 0.01)


def test_it_is_said_wherever_a_target_or_gap_is_shown(tmp_path: Path) -> None:
    folder = made(tmp_path / "a", 2.0)
    written = report.write([folder])
    said = [sentence for sentence in written.verdict if LOWEST_SEEN in sentence]
    assert said and "of bowl" in said[0]
    text = written.html.read_text(encoding="utf-8")
    for section in ("verdict", "summary"):
        start = text.index(f'id="{section}"')
        assert LOWEST_SEEN in text[start : start + text[start:].index("</section>")], section
    stored = parts(text)
    for name in ("section=curves", "section=targets", "problem=bowl"):
        assert LOWEST_SEEN in stored[name]["html"], name
    assert LOWEST_SEEN in (folder / "tables" / "costs.csv").read_text()


def test_where_nobody_improves_there_is_no_target(tmp_path: Path) -> None:
    made(tmp_path / "a", 0.0)
    facts = json.loads((tmp_path / "a" / "environment.json").read_text())
    facts["problems"] = {"bowl": {**open_facts(), "start": 0.0}}
    (tmp_path / "a" / "environment.json").write_text(json.dumps(facts))
    study = load_study([read(tmp_path / "a")])
    assert not study.facts["bowl"]["targets"]
    assert report.write([tmp_path / "a"]).verdict
