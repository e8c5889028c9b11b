"""The statistics of the page's filters, in JavaScript, give what Python's give on the same data."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.synthetic import Runner, make, problem_facts

import optbench.report
from optbench.records.reader import read
from optbench.report import minute
from optbench.report.analysis.best_map import best, best_map, columns, scores_within
from optbench.report.analysis.findings import Findings, findings
from optbench.report.analysis.kinds import kind_of, rows, size_of
from optbench.report.analysis.load import load_study
from optbench.report.analysis.statistics import anytime_score, ecdf, iqm, iqm_interval, profile, rank_sum
from optbench.report.figures.anytime import profile_costs
from optbench.report.figures.style import styles

SCRIPTS = Path(optbench.report.__file__).parent / "templates" / "scripts"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node is absent: it runs the page's scripts outside of a browser")


def run(code: str, data: Any) -> Any:
    """What `code` returns of `data`, with the page's statistics at hand; infinity is null on the way there and back."""
    files = [(SCRIPTS / f"{name}.js").read_text(encoding="utf-8") for name in ("statistics", "standings")]
    program = "\n".join(
        [
            *files,
            "const data = JSON.parse(require('fs').readFileSync(0, 'utf8'));",
            f"const out = (() => {{ {code} }})();",
        ]
    )
    program += "\nconsole.log(JSON.stringify(out));"
    done = subprocess.run(
        [str(NODE), "-e", program], input=json.dumps(data), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    folder = tmp_path_factory.mktemp("results")
    runners = {
        "a": Runner(rate=4.0, noise=0.3),
        "b": Runner(rate=3.9, noise=0.3),
        "c": Runner(rate=1.0, noise=0.3, fails=(0,)),
        "d": Runner(rate=2.0, refuses=("p0", "p1", "p2", "p3", "p4")),
        "e": Runner(rate=0.001),
    }
    make(folder, runners, {f"p{k}": problem_facts(validation=True) for k in range(8)}, seeds=10, points=24)
    path = folder / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"groups": {"pair": ["p0", "p1"]}}))
    return findings(load_study([read(folder)]))


@needs_node
def test_single_statistics_are_the_same() -> None:
    rng = np.random.default_rng(0)
    costs = np.where(rng.random((40, 4)) < 0.3, np.inf, np.round(rng.uniform(0.2, 90, (40, 4)), 1))
    samples = [
        (np.round(rng.normal(size=n), d), np.round(rng.normal(0.5, 1, m), d))
        for n in (2, 5, 8, 10)
        for m in (3, 6, 10)
        for d in (0, 3)
    ]
    strata = rng.uniform(size=(6, 10))

    def plain(values: Any) -> Any:
        return [plain(v) for v in values] if np.ndim(values) else (None if math.isinf(values) else float(values))

    data = {"costs": plain(costs), "samples": [[plain(a), plain(b)] for a, b in samples], "strata": plain(strata)}
    got = run(
        "const s = statistics, costs = data.costs.map((row) => row.map((v) => v ?? Infinity));"
        "return {score: costs.map((c) => s.anytimeScore(c, 80)), iqm: s.iqm(costs.map((c) => s.anytimeScore(c, 80))),"
        "ecdf: s.ecdf(costs.flat()), profile: s.profile(costs).map((row) => row.map((v) => isFinite(v) ? v : null)),"
        "p: data.samples.map(([a, b]) => s.rankSum(a, b)), interval: s.iqmInterval(data.strata, 2000)};",
        data,
    )
    within = anytime_score(costs, np.full(40, 80.0))
    assert got["score"] == pytest.approx(within.tolist()) and got["iqm"] == pytest.approx(iqm(within))
    assert [np.array(side) for side in got["ecdf"]] == [pytest.approx(side) for side in ecdf(costs)]
    theirs = np.array([[math.inf if v is None else v for v in row] for row in got["profile"]])
    assert theirs == pytest.approx(profile(costs))
    assert got["p"] == pytest.approx([rank_sum(a, b) for a, b in samples], rel=1e-5)
    exact = iqm_interval([*strata], np.random.default_rng(1))
    assert got["interval"] == pytest.approx([exact.low, exact.high], abs=0.15 * (exact.high - exact.low))


@needs_node
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("problems", [range(8), (0, 1, 5), (7,)])
@pytest.mark.parametrize("limit", [math.inf, 12.0])
def test_the_leaderboard_of_a_part_is_the_same(found: Findings, which: int, problems: Any, limit: float) -> None:
    asked = found if which == 0 else found.generalising
    assert asked is not None
    study, ranking = asked.study, asked.ranking
    names = [found.study.problems[k] for k in problems]
    ranked = best(ranking, scores_within(ranking, limit), names, limit)
    page = minute.data(found, styles(found.study.labels))
    got = run(
        "const q = data.page.questions[data.which], names = new Set(data.problems), limit = data.limit ?? Infinity;"
        "const found = standings.standing(q, names, limit), labels = q.labels;"
        "return {ranked: found.map((one) => [one.label, one.score]),"
        "level: found.filter((one) => one.level).map((one) => one.label),"
        "ecdf: Object.fromEntries(labels.map((l) => [l, statistics.ecdf(standings.allCosts(q, names, limit, l))])),"
        "profile: standings.profileCosts(q, names, limit, labels, q.headline)"
        ".map((row) => row.map((v) => isFinite(v) ? v : null))};",
        {"page": page, "which": which, "problems": list(problems), "limit": None if math.isinf(limit) else limit},
    )
    assert got["level"] == list(ranked.leaders)
    assert len(got["ranked"]) == len(ranked.leaders) + ranked.others
    assert got["ranked"][0] == [ranked.leaders[0], pytest.approx(ranked.score, rel=1e-5)]
    here = study.trials["problem"].isin(names).to_numpy()
    for label in study.labels:
        costs = study.passes_to[here & (study.trials["label"] == label).to_numpy()]
        x, y = ecdf(np.where(costs <= limit, costs, np.inf))
        assert [np.array(side) for side in got["ecdf"][label]] == [pytest.approx(x, rel=1e-5), pytest.approx(y)]
    if math.isinf(limit) and len(names) == len(study.problems):
        assert [label for label, _ in got["ranked"]] == ranking.order
        assert [score for _, score in got["ranked"]] == pytest.approx(
            [ranking.iqm[x].estimate for x in ranking.order], rel=1e-5
        )
        mine = profile_costs(study, study.labels, study.headline)
        theirs = np.array([[math.inf if v is None else v for v in row] for row in got["profile"]])
        assert theirs == pytest.approx(mine, rel=1e-5)


def test_the_map_names_a_clear_winner_alone_and_equals_together(tmp_path: Path) -> None:
    clear = {"a": Runner(rate=6.0), "b": Runner(rate=1.0), "c": Runner(rate=1.0)}
    make(tmp_path / "clear", clear, [f"p{k}" for k in range(3)], seeds=10, points=24)
    limits, fields = best_map(findings(load_study([read(tmp_path / "clear")])).ranking)
    assert limits[-1] == math.inf and [row.problems for row in fields] == [["p0", "p1", "p2"]]
    assert fields[0].fields[-1] is not None and list(fields[0].fields[-1].leaders) == ["a"]
    equal = {name: Runner(rate=2.0) for name in "abc"}
    make(tmp_path / "equal", equal, [f"p{k}" for k in range(3)], seeds=10, points=24)
    _, fields = best_map(findings(load_study([read(tmp_path / "equal")])).ranking)
    assert fields[0].fields[-1] is not None and sorted(fields[0].fields[-1].leaders) == ["a", "b", "c"]


def test_under_no_difference_a_field_of_the_map_has_one_winner_in_at_most_5_percent() -> None:
    """Four equal optimizers, ten seeds: the first by chance is told from all others no more often than stated."""
    rng, alone = np.random.default_rng(0), 0
    for _ in range(400):
        means = rng.normal(size=(4, 10))
        order = np.argsort(-means.mean(axis=1))
        alone += all(rank_sum(means[order[0]], means[k]) * 6 < 0.05 for k in order[1:])
    assert alone <= 0.05 * 400


def test_kinds_and_sizes() -> None:
    facts = {
        "cnn_digits": {"track": "supervised", "summary": "convolution, pooling and dropout on digits", "dim": 1898},
        "mlp_digits": {"track": "supervised", "summary": "64-32-10 network on digits", "dim": 2410},
        "sphere": {"track": "function", "summary": "the sphere in 10 dimensions", "dim": 10},
        "line": {"track": "supervised", "summary": "line fit on diabetes", "dim": 2},
    }
    facts |= {
        "rnn_text": {"track": "unsupervised", "summary": "next character by an RNN", "dim": 9000},
        "denoise": {"track": "unsupervised", "summary": "denoising autoencoder with convolutions", "dim": 9000},
    }
    kinds = ["CNNs", "dense networks", "test functions", "lines and logistic models"]
    kinds += ["recurrent networks", "autoencoders and the like"]
    assert [kind_of(name, fact) for name, fact in facts.items()] == kinds
    assert kind_of("mine", {}) == "dense networks" and size_of({"dim": 30}) == "up to 30 parameters"
    assert [*rows([*facts], facts)] == kinds
    assert [*rows(["mlp_digits", "mine"], facts)] == ["up to 30 parameters", "more than 1,000 parameters"]
    assert columns([20.0]) == [10.0, math.inf] and columns([2000.0, 5.0]) == [10.0, 100.0, 1000.0, math.inf]
