"""Tuned optimizers: one competitor each, chosen on validation and on other seeds, test never looked at, cost shown."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from helpers.synthetic import Runner, make, problem_facts

from optbench import report
from optbench.records.reader import read
from optbench.report.analysis.findings import findings
from optbench.report.analysis.load import load_study
from optbench.report.analysis.question import TRAINING, VALIDATION
from optbench.report.analysis.selection import Selection, _chosen, select
from optbench.report.analysis.tuning import best_of_k, score_by_cost, settings
from optbench.report.sentences.verdict import answers, verdict

SIX = [f"p{k}" for k in range(6)]


def setting(lr: float, rate: float = 3.0, **more) -> Runner:
    return Runner(rate=rate, name="adam", hyper={"lr": lr}, **more)


def chosen(
    folder: Path, runners: dict[str, Runner], problems=("p",), tuned=None, question=TRAINING, **more
) -> Selection:
    keys = [key for key, runner in runners.items() if runner.name == "adam"]
    facts = {name: problem_facts(validation=True) for name in problems}
    make(folder, runners, facts, tuned={"adam": keys} if tuned is None else tuned, **more)
    return select(load_study([read(folder)]).asked(question))


def test_a_tuned_optimizer_is_one_competitor_with_the_setting_that_does_best(tmp_path: Path) -> None:
    runners = {"slow": setting(0.001, 1.0), "good": setting(0.01, 4.0), "fair": setting(0.1, 2.0), "other": Runner()}
    rivals, table, _ = chosen(tmp_path, runners, SIX)
    assert sorted(rivals.labels) == ["adam (tuned, 3)", "other"]
    assert len(rivals.trials) == 2 * 6 * 5
    assert set(rivals.trials.loc[rivals.trials["label"] != "other", "setting"]) == {"adam[lr=0.01]"}
    assert table["chosen"].tolist() == ["lr=0.01"] * 6
    assert (table["passes"] == 3 * 5 * 100.0).all() and (table["times"] == 3.0).all()
    assert rivals.marks == {"adam (tuned, 3)": "tuned", "other": "untuned: no search space declared"}


def test_points_follow_their_trials(tmp_path: Path) -> None:
    rivals, _, _ = chosen(tmp_path, {"a": setting(0.01, noise=1.0), "b": setting(0.1, noise=1.0), "c": Runner()}, SIX)
    whole = load_study([read(tmp_path)])
    for row, trial in rivals.trials.iterrows():
        origin = whole.trials.index[(whole.trials["key"] == trial["key"])][0]
        pairs = zip(rivals.curve(int(str(row)), "loss", "passes"), whole.curve(origin, "loss", "passes"), strict=True)
        for mine, theirs in pairs:
            assert (mine == theirs).all()


def test_test_data_choose_nothing(tmp_path: Path) -> None:
    """The best on validation is the worst on test, and stays chosen whatever the test loss."""
    for k, test in enumerate((0.01, 1.0, 100.0)):
        runners = {"a": setting(0.01, 4.0, test=test), "b": setting(0.1, 3.0, test=0.001), "c": Runner()}
        _, table, _ = chosen(tmp_path / str(k), runners, question=VALIDATION)
        assert table["chosen"].tolist() == ["lr=0.01"]
        assert table["test_loss"].iloc[0] == pytest.approx(test * table["training_loss"].iloc[0])
        assert table["selected_on"].iloc[0] == "validation"


def test_a_setting_is_chosen_on_what_it_is_scored_on(tmp_path: Path) -> None:
    """One setting fits fast and overfits, the other holds: each question chooses its own and scores its own."""
    runners = {"fits": setting(0.01, 4.0, valid=1000.0), "holds": setting(0.1, 3.0, valid=1.0), "rival": Runner(3.5)}
    fast, by_training, _ = chosen(tmp_path / "a", runners, SIX)
    _, by_validation, _ = chosen(tmp_path / "b", runners, SIX, question=VALIDATION)
    assert set(by_training["chosen"]) == {"lr=0.01"} and set(by_training["selected_on"]) == {"training"}
    assert set(by_validation["chosen"]) == {"lr=0.1"} and set(by_validation["selected_on"]) == {"validation"}
    mean = {name: float(fast.score[fast.trials["label"] == name].mean()) for name in fast.labels}
    assert mean["adam (tuned, 2)"] > mean["rival"]  # chosen on validation it would have come second
    found = findings(load_study([read(tmp_path / "a")]))
    second = found.generalising
    assert second is not None and found.study.trials["setting"].unique().tolist()[0] == "adam[lr=0.01]"
    assert second.study.target("p0", 0.01) == 0.02 and np.isfinite(second.study.passes_to).any()
    text = [sentence for answer in answers(found) for sentence in (*answer.sentences, *answer.more)]
    assert "adam (tuned, 2) has the highest score in minimising, rival in generalising." in text


def test_without_targets_on_validation_the_second_question_is_not_answered(tmp_path: Path) -> None:
    make(tmp_path, {"a": Runner(), "b": Runner()}, SIX)
    found = findings(load_study([read(tmp_path)]))
    assert found.generalising is None
    assert "This folder states no targets on validation" in " ".join(verdict(found))


def test_without_validation_the_training_loss_chooses_and_speed_tells_solvers_apart(tmp_path: Path) -> None:
    runners = {"late": setting(0.01, 7.0), "soon": setting(0.1, 9.0), "never": setting(1.0, 1.0)}
    _, table, _ = chosen(tmp_path, runners, metrics=False)
    assert table[["selected_on", "chosen"]].to_numpy().tolist() == [["training", "lr=0.1"]]
    assert math.isnan(table["test_loss"].iloc[0])


def test_no_seed_speaks_for_the_setting_it_is_reported_with(tmp_path: Path) -> None:
    """Five settings that are all alike: the luckiest seed must not choose, or tuning would win by luck alone."""
    rng = np.random.default_rng(0)
    gain, naive = [], []
    for k in range(60):
        runners = {f"s{j}": setting(0.01 * 2**j, noise=1.0) for j in range(5)} | {"same": Runner(noise=1.0)}
        rivals, _, _ = chosen(tmp_path / str(k), runners, SIX, seeds=5, points=6, rng=rng)
        mean = {label: float(rivals.score[rivals.trials["label"] == label].mean()) for label in rivals.labels}
        gain.append(mean["adam (tuned, 5)"] - mean["same"])
        whole = load_study([read(tmp_path / str(k))])
        best = np.array(
            [max(whole.score[whole.cells[p, f"adam[lr={0.01 * 2**j:g}]"]].mean() for j in range(5)) for p in SIX]
        )
        naive.append(best.mean() - mean["same"])
    error = np.std(gain) / math.sqrt(len(gain))
    assert abs(np.mean(gain)) < 3 * error
    assert np.mean(naive) > 10 * np.std(naive) / math.sqrt(len(naive))  # what the other rule would have claimed


def test_each_seed_is_reported_with_the_choice_of_the_others(tmp_path: Path) -> None:
    """By hand: seed 0 does well with a, which does badly on the others; so 0 gets b, and all of them do."""
    records = make(tmp_path, {"a": setting(0.01), "b": setting(0.1)}, ["p"], seeds=3, tuned={"adam": ["a", "b"]})
    valid = {("adam[lr=0.01]", 0): 0.0, ("adam[lr=0.1]", 0): 1.0}
    for record in records:
        known = 0.9 if record.label == "adam[lr=0.01]" else 0.5
        record.curve[-1]["valid_loss"] = valid.get((record.label, record.seed), known)
    (tmp_path / "records.jsonl").write_text("".join(record.line() + "\n" for record in records))
    environment = json.loads((tmp_path / "environment.json").read_text())
    environment["problems"] = {"p": problem_facts(validation=True)}
    (tmp_path / "environment.json").write_text(json.dumps(environment))
    rivals, table, _ = select(load_study([read(tmp_path)]).asked(VALIDATION))
    # seed 0: medians 0.9 and 0.5; seed 1 and 2: (0.0 + 0.9) / 2 = 0.45 against (1.0 + 0.5) / 2 = 0.75
    assert rivals.trials.sort_values("seed")["setting"].tolist() == ["adam[lr=0.1]", "adam[lr=0.01]", "adam[lr=0.01]"]
    assert table["chosen"].iloc[0] == "lr=0.01 (2); lr=0.1 (1)"


def test_one_seed_chooses_for_itself(tmp_path: Path) -> None:
    _, table, _ = chosen(tmp_path, {"a": setting(0.01, 1.0), "b": setting(0.1, 3.0)}, seeds=1)
    assert table["chosen"].tolist() == ["lr=0.1"]
    said = " ".join(verdict(findings(load_study([read(tmp_path)]))))
    assert "loss on this seed" in said and "on the other seeds" not in said


def test_failed_settings_are_not_chosen_but_paid_for(tmp_path: Path) -> None:
    rivals, table, _ = chosen(tmp_path, {"bad": setting(1.0, 9.0, fails=range(5)), "good": setting(0.1, 2.0)})
    assert table["chosen"].tolist() == ["lr=0.1"]
    assert not rivals.no_result.any()
    assert table[["no_result", "trials"]].to_numpy().tolist() == [[5, 10]]
    assert table["passes"].iloc[0] > 500


def test_where_every_setting_failed_the_optimizer_stays_in_every_denominator(tmp_path: Path) -> None:
    runners = {"a": setting(0.1, fails=range(5)), "b": setting(1.0, fails=range(5)), "c": Runner()}
    rivals, _, _ = chosen(tmp_path, runners)
    assert rivals.no_result[rivals.trials["label"] == "adam (tuned, 2)"].tolist() == [True] * 5
    text = " ".join(report.write([tmp_path]).verdict)
    assert "adam (tuned, 2) 5" in text and "adam (tuned, 2) is not ranked, for a score of 0." in text


def test_an_interrupted_run_counts_what_is_missing_in_all_settings(tmp_path: Path) -> None:
    runners = {"a": setting(0.01), "b": setting(0.1), "c": Runner()}
    make(tmp_path, runners, ["p"], tuned={"adam": ["a", "b"]}, keep=7)
    assert "8 of 15 planned trials left no record" in report.write([tmp_path]).verdict[0]


def test_a_setting_that_was_also_asked_for_by_itself_competes_twice(tmp_path: Path) -> None:
    runners = {"a": setting(0.01, 4.0), "b": setting(0.1, 1.0), "c": Runner()}
    make(tmp_path, runners, ["p"], tuned={"adam": ["a", "b"]})
    path = tmp_path / "environment.json"
    stated = json.loads(path.read_text())
    stated["tuning"]["competitors"]["adam[lr=0.1]"] = {"optimizer": "adam", "space": {}, "why": "fixes lr"}
    path.write_text(json.dumps(stated))
    rivals, _, _ = select(load_study([read(tmp_path)]))
    assert sorted(rivals.labels) == ["adam (tuned, 2)", "adam[lr=0.1]", "c"]
    assert rivals.marks["adam[lr=0.1]"] == "untuned: fixes lr"
    assert len(rivals.trials) == 15


def test_without_tuning_the_study_is_the_one_that_was_read(tmp_path: Path) -> None:
    make(tmp_path, {"a": Runner(), "b": Runner()})
    whole = load_study([read(tmp_path)])
    rivals, table, _ = select(whole)
    assert rivals is whole and not len(table) and not whole.marks


def test_two_folders_are_tuned_each_by_itself(tmp_path: Path) -> None:
    for name, rate in (("before", 4.0), ("after", 1.0)):
        runners = {"a": setting(0.01, rate), "b": setting(0.1, 2.0), "c": Runner()}
        make(tmp_path / name, runners, SIX, tuned={"adam": ["a", "b"]})
    written = report.write([tmp_path / "before", tmp_path / "after"], tmp_path / "out")
    assert len(written.regressions) == 6
    assert all("adam (tuned, 2) on p" in sentence for sentence in written.regressions)


def test_the_tuning_views_hold_all_settings(tmp_path: Path) -> None:
    runners = {f"s{k}": setting(10.0**-k, 3.0 - k / 2, noise=0.0) for k in range(4)} | {"c": Runner()}
    make(tmp_path, runners, ["p"], tuned={"adam": [f"s{k}" for k in range(4)]})
    table = settings(load_study([read(tmp_path)]))
    assert set(table["optimizer"]) == {"adam (tuned, 4)"}
    assert sorted(table["rate"]) == [0.001, 0.01, 0.1, 1.0]
    best = best_of_k(table).set_index("k")
    assert best.loc[4, "expected"] == pytest.approx(table.loc[table["rate"] == 1.0, "value"].iloc[0])
    assert best.loc[1, "expected"] == pytest.approx(table["value"].mean())
    assert best["tuning_passes"].tolist() == [500.0, 1000.0, 1500.0, 2000.0]


def test_the_report_says_what_was_tuned_and_what_it_cost(tmp_path: Path) -> None:
    runners = {f"s{k}": setting(10.0**-k, 3.0 - k / 2) for k in range(3)} | {"plain": Runner()}
    runners["s0"] = setting(1.0, fails=range(5))
    make(tmp_path, runners, SIX, tuned={"adam": ["s0", "s1", "s2"]})
    written = report.write([tmp_path])
    text = " ".join(written.verdict)
    assert "1 optimizer tuned: each seed is reported with the one of 3 settings" in text
    assert "lowest training loss on the other seeds" in text and "30 trials with other settings" in text
    assert "Untuned, as they are (no search space declared): plain." in text
    page = written.html.read_text()
    assert (
        'href="#tuning"' in page and "<td>tuned</td>" in page and "<td>untuned: no search space declared</td>" in page
    )
    for name in ("chosen", "tuning"):
        assert {(tmp_path / "tables" / f"{name}.{kind}").is_file() for kind in ("md", "tex")} == {True}
    report.draw([tmp_path], ["best_of_k", "rates"])
    for name in ("best_of_k", "rates"):
        assert {(tmp_path / "figures" / f"{name}.{kind}").is_file() for kind in ("svg", "pdf", "png")} == {True}


def test_what_tuning_buys_is_shown_against_its_price(tmp_path: Path) -> None:
    """Three settings, one of them good: one try finds it a third of the time, three always; each costs a run."""
    runners = {f"a{k}": Runner(rate, name="a", hyper={"lr": 10.0**-k}, noise=0.0) for k, rate in enumerate((9, 2, 2))}
    make(tmp_path, runners, tuned={"a": [*runners]})
    study = load_study([read(tmp_path)])
    table = score_by_cost(settings(study))
    good, poor = (study.score[study.cells["bowl", f"a[lr={lr}]"]].mean() for lr in ("1", "0.1"))
    assert table["k"].tolist() == [1, 2, 3]
    assert table["passes"].tolist() == pytest.approx([100.0, 200.0, 300.0])
    assert table["score"].tolist() == pytest.approx([(good + 2 * poor) / 3, (2 * good + poor) / 3, good])


def test_settings_that_lack_seeds_are_chosen_as_by_hand() -> None:
    """Every seed's choice, written out as loops, on cells with holes, ties and infinities."""
    rng = np.random.default_rng(3)
    for _ in range(200):
        cells, seeds, row = [], [], 0
        for _setting in range(rng.integers(1, 5)):
            mine = np.flatnonzero(rng.random(5) < 0.7)
            if len(mine):
                cells.append(np.arange(row, row + len(mine)))
                seeds += [*mine]
                row += len(mine)
        if not cells:
            continue
        by = rng.choice([0.0, 1.0, 2.0, np.inf], size=row)
        score = rng.choice([0.0, 0.5, 1.0], size=row)
        found = _chosen(np.array(seeds), by, score, cells)
        assert found.tolist() == chosen_by_hand(np.array(seeds), by, score, cells)


def chosen_by_hand(seeds: np.ndarray, by: np.ndarray, score: np.ndarray, cells: list[np.ndarray]) -> list[int]:
    out = []
    for seed in sorted(set(seeds)):
        ranks = []
        for place, rows in enumerate(cells):
            own, rest = rows[seeds[rows] == seed], rows[seeds[rows] != seed]
            if len(own):
                others = rest if len(rest) else own
                ranks.append((float(np.median(by[others])), -float(np.mean(score[others])), place, int(own[0])))
        out.append(min(ranks)[-1])
    return out
