"""One's own results beside a reference: the same problems and budgets alone, nobody counted twice, seconds apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.synthetic import Runner, make, problem_facts

from optbench.core.trial import RequestError
from optbench.execution.request import Request
from optbench.records.reader import Results, read
from optbench.records.reference import BUILT_IN, beside, reference
from optbench.report.analysis.findings import findings
from optbench.report.analysis.load import load_study
from optbench.report.sentences.verdict import verdict

EIGHT = [f"p{k}" for k in range(8)]


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """A reference of two optimizers on eight problems."""
    make(tmp_path / "known", {"adam": Runner(rate=3.0), "sgd": Runner(rate=2.0)}, EIGHT, alone=True)
    return tmp_path / "known"


def own(folder: Path, problems: list[str], rate: float = 4.0, budget: float = 100.0) -> Results:
    make(folder, {"mine": Runner(rate=rate), "adam": Runner(rate=3.0)}, problems, budget=budget, alone=True)
    return read(folder)


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_reference_is_complete(name: str) -> None:
    folder = reference(name)
    assert {"environment.json", "suite.toml", "records.jsonl.xz"} <= {path.name for path in folder.iterdir()}


def test_trials_of_both_stand_side_by_side_and_one_that_both_have_is_ones_own(tmp_path: Path, known: Path) -> None:
    found = beside(own(tmp_path / "mine", EIGHT), str(known))
    counts = found.trials.groupby("label").size()
    assert dict(counts) == {"adam": 40, "mine": 40, "sgd": 40}
    assert found.environment["entrants"] == ["mine"]
    assert not found.trials.loc[found.trials["label"] == "sgd", "alone"].any()  # seconds of another time and machine
    assert found.trials.loc[found.trials["label"] != "sgd", "alone"].all()
    whole = {folder: read(folder) for folder in (known, tmp_path / "mine")}
    for label, folder in (("sgd", known), ("mine", tmp_path / "mine"), ("adam", tmp_path / "mine")):
        for results in (found, whole[folder]):
            trial = results.trials.query("label == @label and problem == 'p3' and seed == 2").index[0]
            losses = [*results.points.loc[results.points["trial"] == trial, "loss"]]
            if results is found:
                expected = losses
        assert losses == expected, label  # every curve is still its own trial's


def test_the_verdict_says_where_the_entrant_stands(tmp_path: Path, known: Path) -> None:
    text = verdict(findings(load_study([beside(own(tmp_path / "mine", EIGHT), str(known))])))
    assert any(one.startswith("mine is number 1 of 3 by score, ") for one in text)
    assert "It is better than adam and sgd (5 % level, Holm-corrected for 3 pairs)." in text
    assert "Against adam it is practically better on 8 and worse on 0 of 8 problems." in text
    slow = verdict(findings(load_study([beside(own(tmp_path / "slow", EIGHT, rate=1.0), str(known))])))
    assert any(one.startswith("mine is number 3 of 3 by score, ") for one in slow)
    assert "It is worse than adam and sgd (5 % level, Holm-corrected for 3 pairs)." in slow


def test_problems_that_only_one_side_has_or_that_changed_are_left_out(tmp_path: Path, known: Path) -> None:
    make(tmp_path / "mine", {"mine": Runner()}, {name: problem_facts() for name in ("p0", "p1", "other")})
    facts = json.loads((tmp_path / "mine" / "environment.json").read_text())
    facts["problems"]["p1"]["targets"]["0.5"] = 7.0
    (tmp_path / "mine" / "environment.json").write_text(json.dumps(facts))
    found = beside(read(tmp_path / "mine"), str(known))
    assert set(found.trials["problem"]) == {"p0"} == set(found.environment["problems"])
    assert any("does not have it: other." in note for note in found.notes)
    assert any("changed since" in note and "p1" in note for note in found.notes)


def test_another_budget_is_refused_with_the_right_one(tmp_path: Path, known: Path) -> None:
    with pytest.raises(RequestError, match="its passes are: p0 100"):
        beside(own(tmp_path / "mine", ["p0"], budget=50.0), str(known))


def test_an_untuned_entrant_is_not_ranked_among_tuned_ones(tmp_path: Path) -> None:
    settings = {f"adam{k}": Runner(rate=2.0 + k, name="adam", hyper={"lr": 10.0**-k}) for k in range(2)}
    make(tmp_path / "known", settings, EIGHT, tuned={"adam": list(settings)})
    make(tmp_path / "mine", {"mine": Runner(rate=4.0)}, EIGHT)
    text = verdict(findings(load_study([beside(read(tmp_path / "mine"), str(tmp_path / "known"))])))
    assert any(one.startswith("mine is not ranked: it was not tuned, and others were") for one in text)


def test_a_run_beside_a_reference_takes_its_problems_budgets_and_tuning() -> None:
    suite = Request(against="standard", optimizers=["torch.optim:NAdam"], problems=["mlp_digits"]).resolved_suite()
    assert suite.problems == ("mlp_digits",) and suite.optimizers == ("torch.optim:NAdam",)
    assert (suite.seeds, suite.tune, suite.budgets) == (10, 8, {"mlp_digits": 100})
    assert suite.name == "NAdam_against_standard"


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (Request(against="standard"), "needs the optimizers that are to stand beside it"),
        (Request(against="standart", optimizers=["adam"]), "no reference 'standart'; there is standard and modern"),
        (Request(against="standard", optimizers=["adam"], problems=["mlp_digit"]), "did you mean 'mlp_digits'"),
        (Request("quick", against="standard", optimizers=["adam"]), "takes its own suite and budgets"),
        (Request(against="standard", optimizers=["adam"], passes=3.0), "takes its own suite and budgets"),
    ],
)
def test_requests_that_make_no_comparison_are_refused(request_: Request, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        request_.resolved_suite()
