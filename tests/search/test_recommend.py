"""`optbench.recommend`: what is trained how far, what the answer rests on, and what is refused."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("optuna", reason="needs optuna: pip install 'optbench[recommend]'")

import optbench
from optbench.core.trial import RequestError
from optbench.records.schema import Record
from optbench.registry.catalog import Catalog
from optbench.registry.specs import parse
from optbench.search.halving import Halving, at_budget
from optbench.search.recommendation import candidates, recommendation


class Trainer:
    """Made-up runs: adam ends at |log10(lr / 0.003)| + 1, sgd at twice that, others at 9; noise by seed."""

    def __init__(self, noise: float = 0.0) -> None:
        self.calls: list[tuple[int, float, int]] = []
        self.noise = noise

    def __call__(self, specs: Sequence[str], passes: float, seeds: int) -> list[Record]:
        self.calls.append((len(specs), passes, seeds))
        return [self.record(label, seed, passes) for label in specs for seed in range(seeds)]

    def record(self, label: str, seed: int, passes: float) -> Record:
        ((name, hyper),) = parse(label)
        away = abs(math.log10(hyper.get("lr", 0.1) / 0.003)) + 1
        loss = {"adam": away, "sgd": 2 * away}.get(name, 9.0)
        loss += self.noise * float(np.random.default_rng([seed, len(label), int(1e6 * away)]).standard_normal())
        record = Record(f"{label}{seed}{passes}", "p", name, hyper, seed, passes, "cpu", "spent", wall_seconds=0.01)
        record.passes, record.curve = passes, [{"passes": 0.0, "loss": 20.0}, {"passes": passes, "loss": loss}]
        return record


def searched(trainer: Trainer, seconds: float = 60.0) -> Halving:
    found = candidates(["adam", "sgd", "pso", "momentum"], Catalog())
    return Halving(
        found, trainer, lambda record, budget: at_budget(record, "loss", budget, True), 90.0, 2, 5, seconds, 1
    )


def test_few_get_the_whole_budget_and_later_settings_come_closer() -> None:
    trainer = Trainer()
    halving = searched(trainer)
    brackets = iter([True] * 6 + [False])
    halving._time_for_another = lambda: next(brackets)  # type: ignore[method-assign]
    best = halving.search()
    budgets = [round(passes, 6) for _, passes, _ in trainer.calls]
    assert budgets[:6] == [10.0, 30.0, 90.0, 10.0, 30.0, 90.0]
    counts = [count for count, _, _ in trainer.calls]
    assert counts[:3] == [4, 1, 1] and counts[3:6] == [9, 3, 1]
    usual = next(one for one in halving.tried.values() if one.label == "adam")
    assert best[0].optimizer == "adam" and best[0].final < usual.scores[1 / 9]
    assert any(one.usual for one in best)
    assert len(halving.tried) == len({record.label for record in halving.records.values()}) > 40


def test_without_time_every_optimizer_runs_as_it_comes_and_no_more() -> None:
    trainer = Trainer()
    halving = searched(trainer, seconds=0.001)
    halving.search()
    assert [one.label for one in halving.tried.values()] == ["adam", "sgd", "pso", "momentum"]


def test_scores_stand_within_the_budget_own_work_included() -> None:
    record = Record("k", "p", "a", {}, 0, 10.0, "cpu", "spent", passes=10.0, flops=1000)  # 100 FLOPs a pass
    record.curve = [{"passes": float(k), "loss": 10.0 - k, "own_flops": 100.0 * k} for k in range(11)]
    assert at_budget(record, "loss", 10.0, own_work=False) == 0.0
    assert at_budget(record, "loss", 10.0, own_work=True) == 5.0  # 5 passes and 5 of its own
    record.status = "diverged"
    assert at_budget(record, "loss", 10.0, own_work=False) == math.inf


def test_the_answer_is_tested_on_seeds_that_the_search_never_saw(tmp_path: Path) -> None:
    trainer = Trainer(noise=0.4)
    found = candidates(["adam", "sgd", "pso"], Catalog())
    answer = recommendation(
        "p", "loss", 90.0, True, found, trainer, seconds=9, seeds=2, held_out=8, workers=1, folder=tmp_path
    )
    specs, passes, seeds = trainer.calls[-1]
    assert (specs, passes, seeds) == (len(answer.finalists), 90.0, 10)
    best = answer.finalists[0]
    values = [trainer.record(best.label, seed, 90.0).curve[-1]["loss"] for seed in range(2, 10)]
    assert best.held_out.estimate == pytest.approx(float(np.median(values)))
    assert best.search == pytest.approx(
        float(np.median([trainer.record(best.label, seed, 90.0).curve[-1]["loss"] for seed in range(2)]))
    )
    assert best.search <= min(one.search for one in answer.finalists)
    assert "seeds that the search never saw" in answer.verdict
    luck = best.search < best.held_out.low
    assert ("partly by luck" in answer.verdict) == luck


def test_a_lucky_choice_is_said_to_be_one(tmp_path: Path) -> None:
    """Settings that are all alike, with much noise: the search's score of the chosen one is far below its median."""

    class Alike(Trainer):
        def record(self, label: str, seed: int, passes: float) -> Record:
            record = super().record(label, seed, passes)
            record.curve[-1]["loss"] = 5.0 + float(np.random.default_rng([seed, hash_of(label)]).standard_normal())
            return record

    found = candidates(["adam", "sgd", "pso", "momentum", "rmsprop", "nadam"], Catalog())
    answer = recommendation(
        "p", "loss", 90.0, True, found, Alike(), seconds=9, seeds=1, held_out=20, workers=1, folder=tmp_path
    )
    assert answer.finalists[0].search < answer.interval.low
    assert "partly by luck" in answer.verdict and "not told apart" in answer.verdict


def hash_of(text: str) -> int:
    import hashlib

    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def test_on_a_problem_of_ours(tmp_path: Path) -> None:
    answer = optbench.recommend(
        "line_mse", ["adam", "sgd", "random_search"], seconds=1, passes=30, seeds=2, held_out=3, out=tmp_path / "r"
    )
    assert answer.setting.split("[")[0] in ("adam", "sgd")
    assert answer.interval.low <= answer.interval.estimate <= answer.interval.high < 1.0
    assert set(answer.study.trials()["seed"]) == {2, 3, 4}
    assert answer.table().index[0] == answer.setting
    assert answer.setting in answer._repr_html_()


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError, match="one problem, not for 2"):
        optbench.recommend(["line_mse", "line_l1"])
    with pytest.raises(RequestError, match=r"adm.*did you mean 'adam'"):
        optbench.recommend("line_mse", ["adm"])
    with pytest.raises(RequestError, match="held_out=1 at least 2"):
        optbench.recommend("line_mse", held_out=1)
    with pytest.raises(RequestError, match="must be a positive number"):
        optbench.recommend("line_mse", seconds=0)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"pip install 'optbench\[recommend\]'"):
        optbench.recommend("line_mse")


def test_the_page_says_what_was_measured() -> None:
    """Within: the answer's median on held-out seeds is not above the best cell's interval."""
    docs = Path(__file__).parents[2] / "docs"
    page = (docs / "howto" / "own.md").read_text(encoding="utf-8")
    rows = list(csv.DictReader((docs / "recommend.csv").read_text(encoding="utf-8").splitlines()))
    within = [float(row["held_out"]) <= float(row["best_high"]) for row in rows]
    assert len(rows) == 6 and sum(within) == 5 and "Five of six answers" in page
    for row, ok in zip(rows, within, strict=True):
        assert row["within"] == str(int(ok))
        line = next(line for line in page.splitlines() if line.startswith(f"| {row['problem']} |"))
        assert f"`{row['setting']}`" in line and f"{100 * float(row['share']):.0f} %" in line
