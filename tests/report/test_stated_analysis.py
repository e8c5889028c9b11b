"""An analysis that was stated beforehand is followed, dated, and said to be departed from where it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.synthetic import Runner, make, problem_facts

import optbench
from optbench import report
from optbench.cli import main
from optbench.core.trial import RequestError
from optbench.execution.suite import Suite, read_suite
from optbench.records.analysis import BEFORE, Analysis, read_analysis, stated
from optbench.records.files import read_environment
from optbench.records.reader import read
from optbench.report.analysis.findings import findings
from optbench.report.analysis.following import follow
from optbench.report.analysis.load import load_study
from optbench.report.analysis.statistics import holm, signed_rank
from optbench.report.sentences.glance import glance
from optbench.report.sentences.stated import reference, stated_beforehand

TEN = [f"p{k}" for k in range(10)]
RUNNERS = {
    "adam": Runner(3.0, own=0.1),
    "sgd": Runner(2.0, own=0.1),
    "lion": Runner(4.0, own=0.1),
    "pso": Runner(3.0, own=0.1),
}


def written(folder: Path, before: int = 0, **analysis: Any) -> Path:
    """A folder whose suite states an analysis."""
    make(folder, RUNNERS, {name: problem_facts(validation=True) for name in TEN})
    path = folder / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"analysis": {**analysis, BEFORE: before}}))
    return folder


def found(folder: Path, **given: Any) -> Any:
    results = [read(folder)]
    by = follow(results, given.get("axis"), given.get("scored"), given.get("mixed", False))
    return findings(load_study(results, by.axis, by.scored, by.stated), by.mixed)


def test_the_reference_is_compared_with_all_others_and_nobody_else(tmp_path: Path) -> None:
    one = found(written(tmp_path, question="training", reference="adam"))
    said = stated_beforehand(one)
    assert said[0].startswith("The suite stated its analysis before any trial had ended: training loss; all work;")
    assert "Better than adam (5 % level, Holm-corrected for 3 pairs with it): lion." in said
    assert "Worse than adam (5 % level, Holm-corrected for 3 pairs with it): sgd." in said
    means = one.ranking.means
    p = {other: signed_rank((means[other] - means["adam"]).to_numpy()) for other in ("lion", "sgd", "pso")}
    adjusted = dict(zip(p, holm([*p.values()]), strict=True))  # three pairs, not the six of everybody
    claims = one.ranking.against("adam")
    assert {other for other, claim in claims.items() if claim in ("better", "worse")} == {
        other for other, value in adjusted.items() if value < 0.05
    }
    assert "What was asked beforehand" in report.write([tmp_path]).verdict


def test_fewer_pairs_are_corrected_for(tmp_path: Path) -> None:
    """Seven problems carry the three pairs with a reference, and not all six."""
    seven = TEN[:7]
    make(tmp_path, RUNNERS, seven)
    ranking = found(tmp_path).ranking
    assert ranking.claim("lion", "adam") == "open" and ranking.against("adam")["lion"] == "better"


def test_the_level_the_targets_and_the_budget_are_followed(tmp_path: Path) -> None:
    plain = found(written(tmp_path / "plain", question="training"))
    strict = found(written(tmp_path / "strict", question="training", alpha=0.001, targets=[0.1, 0.01], budget=0.5))
    assert plain.ranking.winner == "lion" and strict.ranking.winner is None  # ten problems cannot reach p < 0.001
    assert (
        strict.study.alpha == 0.001 and strict.study.taus == [0.1, 0.01] and plain.study.taus == [0.5, 0.1, 0.01, 0.001]
    )
    assert set(strict.study.trials["budget"]) == {50.0}
    assert np.nanmax(strict.study.points.groupby("trial")["passes"].first()) == 0.0
    assert strict.study.points["passes"].max() <= 50.0 < plain.study.points["passes"].max()
    text = " ".join(report.write([tmp_path / "strict"]).verdict)
    assert "50 % of the budget; targets 10 %, 1 %; every pair; level 0.1 %" in text


def test_the_other_question_can_be_the_one_that_was_stated(tmp_path: Path) -> None:
    one = found(written(tmp_path / "valid", question="validation", reference="adam", targets=[0.1]))
    assert one.generalising.study.taus == [0.1] and len(one.study.taus) == 4
    assert any("Holm-corrected for 3 pairs" in text for text in stated_beforehand(one))
    make(tmp_path / "none", RUNNERS, TEN)
    path = tmp_path / "none" / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"analysis": {"question": "validation"}}))
    assert "No problem here states targets on validation" in stated_beforehand(found(tmp_path / "none"))[-1]


def test_the_headline_and_the_winner_are_those_of_the_stated_question(tmp_path: Path) -> None:
    """`fast` is first in training and overfits: 1.5 times its training loss on validation never meets a target."""
    runners = {"fast": Runner(4.0, own=0.1, valid=1.5e3), "slow": Runner(2.0, own=0.1), "third": Runner(1.0, own=0.1)}
    make(tmp_path / "none", runners, {name: problem_facts(validation=True) for name in TEN})
    make(tmp_path / "valid", runners, {name: problem_facts(validation=True) for name in TEN})
    path = tmp_path / "valid" / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"analysis": {"question": "validation", BEFORE: 0}}))
    usual, asked = glance(found(tmp_path / "none")), glance(found(tmp_path / "valid"))
    assert usual.headline == "fast wins on 10 problems."
    assert asked.headline == "By validation loss, as stated beforehand: slow wins on 10 problems."
    assert ("Minimises", "On training loss fast has the highest score") in [
        (word, text.partition(",")[0]) for word, text in asked.sentences
    ]
    for folder, winner, question in (("none", "fast", "training"), ("valid", "slow", "validation")):
        report.write([tmp_path / folder])
        told = json.loads((tmp_path / folder / "report.json").read_text())
        assert (told["winner"], told["question"], told["ranking"][0]["optimizer"]) == (winner, question, winner)


def test_what_was_stated_late_is_said_to_be(tmp_path: Path) -> None:
    said = stated_beforehand(found(written(tmp_path, 30, question="training")))
    assert "after 30 trials had ended" in said[0] and said[1] == "So it may have been chosen with results in sight."


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"axis": "oracle"}, "--axis oracle in place of total"),
        ({"scored": "best"}, "--scored best in place of returned"),
        ({"mixed": True}, "--mixed ranks tuned and untuned together"),
    ],
)
def test_options_that_depart_from_it_are_named(tmp_path: Path, given: dict[str, Any], told: str) -> None:
    written(tmp_path, question="training", reference="adam")
    assert any(f"This report departs from it: {told}." in text for text in stated_beforehand(found(tmp_path, **given)))
    assert not any("departs" in text for text in stated_beforehand(found(tmp_path)))
    option = {"axis": ["--axis", "oracle"], "scored": ["--scored", "best"], "mixed": ["--mixed"]}[next(iter(given))]
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "page"), *option]) == 0
    assert told in (tmp_path / "page" / "report.md").read_text(encoding="utf-8").replace("\\", "")


def test_an_axis_that_is_stated_needs_no_option(tmp_path: Path) -> None:
    one = found(written(tmp_path, question="training", axis="oracle", scored="best"))
    assert (one.study.axis, one.study.scored) == ("oracle", "best")
    assert found(tmp_path, axis="total").study.axis == "total"


def test_a_name_of_several_optimizers_is_no_reference(tmp_path: Path) -> None:
    one = found(written(tmp_path, question="training", reference="adam"))
    assert reference(one.study, ["adam[lr=0.1]", "adam[lr=1]", "sgd"], "adam") == ["adam[lr=0.1]", "adam[lr=1]"]
    assert reference(one.study, ["adam (tuned, 8)", "adamw"], "adam") == ["adam (tuned, 8)"]
    late = found(written(tmp_path / "none", question="training", reference="rprop"))
    assert stated_beforehand(late)[-1].startswith("The reference rprop is not among the ranked optimizers")


def test_a_suite_states_it_and_its_file_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    text = 'problems = ["line_mse"]\noptimizers = ["adam", "sgd"]\n[analysis]\nreference = "adam"\n'
    path.write_text(text + "alpha = 0.01\ntargets = [0.1]\n")
    suite = read_suite(str(path))
    assert suite.analysis == {"reference": "adam", "alpha": 0.01, "targets": [0.1], "question": "training"}
    path.write_text(suite.toml())
    assert read_suite(str(path)) == suite and isinstance(suite, Suite)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('reference = "adan"', "is none of the suite's optimizers, did you mean 'adam'"),
        ('refrence = "adam"', "unknown key 'refrence' of [analysis], did you mean 'reference'"),
        ("alpha = 0.5", "it must be above 0 and at most 0.2"),
        ("alpha = true", "it must be above 0"),
        ("budget = 2", "it must be a share of the budget"),
        ("targets = [1, 0.1]", "it must be a list of shares"),
        ("targets = 0.1", "it must be a list of shares"),
        ('question = "test"', "it must be one of training, validation"),
        ('axis = "seconds"', "it must be one of total, oracle"),
        ("mixed = 1", "it must be true or false"),
        ("reference = 1", "it must be the name of an optimizer"),
    ],
)
def test_an_analysis_that_makes_no_sense_is_refused_with_its_line(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'problems = ["line_mse"]\noptimizers = ["adam", "sgd"]\n\n[analysis]\n{line}\n')
    with pytest.raises(RequestError) as caught:
        read_suite(str(path))
    assert told in str(caught.value) and "line 4" in str(caught.value) and "\n" not in str(caught.value)


def test_a_run_notes_when_it_was_stated(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    bare = 'problems = ["line_mse"]\noptimizers = ["adam", "sgd"]\nseeds = 2\npasses = 3\ntiming = 0\n'

    def run(text: str, out: str) -> tuple[Analysis, int] | None:
        path.write_text(bare + text)
        optbench.run(str(path), out=tmp_path / out)
        return stated(read_environment(tmp_path / out))

    early = '[analysis]\nreference = "adam"\n'
    assert run(early, "early") == (Analysis(reference="adam"), 0)
    assert run(early, "early") == (Analysis(reference="adam"), 0)  # the same, when all has ended
    assert run('[analysis]\nreference = "sgd"\n', "early") == (Analysis(reference="sgd"), 4)  # another one is late
    assert run("", "late") is None
    assert run(early, "late") == (Analysis(reference="adam"), 4)


@pytest.mark.parametrize("wrong", [3, [], {"alpha": 9}, {"evil": 1}, {BEFORE: "x"}])
def test_what_no_run_writes_does_not_stop_a_report(tmp_path: Path, wrong: Any) -> None:
    make(tmp_path, {"adam": Runner()}, ["p"])
    path = tmp_path / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"analysis": wrong}))
    assert report.write([tmp_path]).verdict


def test_read_and_written_are_the_same() -> None:
    one = Analysis("validation", "oracle", 0.5, (0.1, 0.01), "adam", 0.01, "best", True)
    assert read_analysis(one.as_data()) == one and Analysis().as_data() == {}
