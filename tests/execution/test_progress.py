"""What a user sees of a run: marks a cell and an honest estimate in a terminal, plain lines elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from optbench.core.trial import Trial
from optbench.execution import progress
from optbench.execution.progress import Progress
from optbench.records.schema import Record


def trial(problem: str, optimizer: str, seed: int) -> Trial:
    return Trial(problem, optimizer, (), seed, 10.0)


def ended(trial: Trial, status: str = "spent") -> Record:
    return Record(trial.key, trial.problem, trial.optimizer, {}, trial.seed, 10.0, "cpu", status)


PLAN = [trial(problem, optimizer, seed) for problem in ("a", "b") for optimizer in ("x", "y") for seed in (0, 1)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def shown(watched: Progress, width: int = 100) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(watched._table())
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_every_cell_has_a_mark_in_its_column(clock) -> None:
    watched = Progress([t for t in PLAN if (t.problem, t.optimizer) != ("b", "x")], 1)
    watched.add(ended(PLAN[0]), 1.0)
    watched.add(ended(PLAN[1]), 1.0)
    watched.add(ended(PLAN[2], "failed"), 1.0)
    lines = shown(watched)
    assert "3/6 trials" in lines[0] and "1 failed" in lines[0]
    assert lines[1].split() == ["a", "■x", "3/4"]
    assert lines[2].split() == ["b", "·", "0/2"] and lines[2].index("·") == lines[1].index("x")
    assert lines[3].endswith("x, y") and "· waiting" in lines[3]


def test_the_estimate_follows_the_pace_of_the_cells_and_the_clock(clock) -> None:
    watched = Progress(PLAN, 2)
    assert watched.left() is None
    watched.add(ended(PLAN[0]), 10.0)
    assert watched.left() == pytest.approx(7 * 10 / 2)
    watched.add(ended(PLAN[2]), 2.0)
    assert watched.left() == pytest.approx((10 + 2 + 4 * 6) / 2)
    clock[0] = 5.0
    assert watched.left() == pytest.approx((10 + 2 + 4 * 6) / 2 - 5)
    clock[0] = 500.0
    assert watched.left() == 0 and "longer than expected" in shown(watched)[0]


def test_the_last_trial_of_a_slow_cell_is_not_divided_among_workers(clock) -> None:
    watched = Progress(PLAN[:2], 8)
    watched.add(ended(PLAN[0]), 40.0)
    assert watched.left() == pytest.approx(40)


def test_no_terminal_gets_plain_lines_now_and_then(clock) -> None:
    console = Console(file=io.StringIO(), width=100)
    with Progress(PLAN, 1, console) as watched:
        for item in PLAN[:4]:
            clock[0] += 6
            watched.add(ended(item), 6.0)
    assert console.file.getvalue().splitlines() == ["2/8 trials, about 36 s left", "4/8 trials, about 24 s left"]
    assert watched.summary() == "4 trials in 24 s: 4 spent"


def test_a_terminal_gets_a_table_that_goes_away(clock) -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with Progress(PLAN, 1, console) as watched:
        for item in PLAN:
            watched.add(ended(item), 1.0)
        watched._live.refresh()
    drawn = console.file.getvalue()
    assert "8/8 trials" in drawn and "■" in drawn and drawn.rstrip().endswith("\x1b[2K")


def test_the_time_left_counts_trials_that_run_alone_one_at_a_time_and_the_report(clock) -> None:
    alone = [PLAN[0], PLAN[2]]  # the first seed of two cells
    watched = Progress(PLAN[:4], 2, alone=alone, report=True)
    watched.add(ended(PLAN[1]), 2.0)
    report = progress.REPORT_SECONDS + 4 * progress.REPORT_SECONDS_A_TRIAL
    by_themselves = 2 * 2.0 * progress.ALONE_SHARES
    assert watched.left() == pytest.approx(2.0 + by_themselves + report)
    watched.add(ended(PLAN[3]), 2.0)
    assert watched.left() == pytest.approx(by_themselves + report)
    watched.add(ended(PLAN[0]), 3.0)
    assert watched.left() == pytest.approx(2.0 * 1.5 + report)
