"""What a user sees while a run goes on: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from optbench.core.trial import FAILED, Trial
from optbench.records.schema import Record

LINE_SECONDS = 10.0  # between plain lines
# A trial that runs alone takes longer than its share of a lane group, and at most what the group took. How much longer
# is known once the first has run; until then this many times its share is expected.
ALONE_SHARES = 4.0
# What the report takes after the last trial: measured on 1 to 30,720 trials.
REPORT_SECONDS, REPORT_SECONDS_A_TRIAL = 3.0, 0.002


class Progress:
    """Counts records as they come and estimates the time that is left from what each cell has taken so far."""

    def __init__(
        self,
        trials: Sequence[Trial],
        workers: int,
        console: Console | None = None,
        alone: Sequence[Trial] = (),
        report: bool = False,
    ) -> None:
        """trials: all that are to run. workers: processes at a time. report: one is written after the last trial.

        alone: those of the trials that run by themselves at the end, for their clock.
        """
        self._console = console or Console(stderr=True)
        self._workers = workers
        self._machines = self._under_way = 0  # of a cluster
        self._alone = Counter(trial.cell for trial in alone)  # still to run
        self._alone_keys = {trial.key for trial in alone}
        self._alone_took: list[tuple[float, float]] = []  # (seconds, seconds of its cell's share before)
        self._report = REPORT_SECONDS + REPORT_SECONDS_A_TRIAL * len(trials) if report else 0.0
        self._total = Counter(trial.cell for trial in trials)
        # Complete from the start: the table is drawn by another thread, which must not see them grow.
        self._done = Counter(dict.fromkeys(self._total, 0))
        self._bad = Counter(dict.fromkeys(self._total, 0))
        self._took = dict.fromkeys(self._total, 0.0)
        self._statuses: Counter[str] = Counter()
        self._began = self._spoke = self._heard = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        if self._console.is_terminal and (not self._console.is_jupyter or find_spec("ipywidgets")):
            # Drawn anew at every refresh, so that the clock runs on while long trials say nothing.
            self._live = Live(console=self._console, refresh_per_second=4, transient=True, get_renderable=self._table)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def workers_are(self, machines: int, slots: int, under_way: int) -> None:
        """So many machines take part now; so many lane groups can run at a time, and so many do."""
        self._machines, self._workers, self._under_way = machines, max(1, slots), under_way

    def add(self, record: Record, workers_seconds: float) -> None:
        """A trial has ended after taking a worker for `workers_seconds`."""
        cell = (record.problem, record.label)
        if record.key in self._alone_keys:
            self._alone[cell] -= 1
            self._alone_took.append((workers_seconds, self._share(cell)))
        self._done[cell] += 1
        self._bad[cell] += record.status in FAILED
        self._took[cell] += workers_seconds
        self._statuses[record.status] += 1
        self._heard = time.monotonic()
        if not self._live and time.monotonic() - self._spoke >= LINE_SECONDS:
            self._spoke = time.monotonic()
            self._console.print(self._line(), highlight=False)

    def summary(self) -> str:
        """How the trials ended, in one line."""
        counts = ", ".join(f"{count} {status}" for status, count in sorted(self._statuses.items()))
        took, total = time.monotonic() - self._began, self._statuses.total()
        return f"{total} trial{'s' * (total != 1)} in {_clock(took)}: {counts or 'nothing left to run'}"

    def left(self) -> float | None:
        """Seconds that are left, from the cells' own pace; None while too little has ended to tell.

        Never less than one trial of the slowest cell that has any left: no number of workers shortens that. Trials that
        run alone for their clock come after the others, one at a time, and then the report.
        """
        ended = self._done.total()
        if ended < max(1, 0.05 * self._total.total()):
            return None
        work = longest = alone = 0.0
        longer = self._alone_factor()
        for cell, total in self._total.items():
            by_itself = max(0, self._alone[cell])
            pace = self._share(cell)
            alone += by_itself * pace * longer
            if waiting := total - self._done[cell] - by_itself:
                work += waiting * pace
                longest = max(longest, pace)
        since = time.monotonic() - self._heard
        return max(0.0, max(work / self._workers, longest) + alone - since) + self._report

    def _share(self, cell: tuple[str, str]) -> float:
        """Seconds of a worker that a trial of the cell has taken, or one of all cells where none has ended."""
        if self._done[cell]:
            return self._took[cell] / self._done[cell]
        return sum(self._took.values()) / max(1, self._done.total())

    def _alone_factor(self) -> float:
        """How many times its share in a lane group a trial takes alone."""
        took, share = (
            (sum(column) for column in zip(*self._alone_took, strict=True)) if self._alone_took else (0.0, 0.0)
        )
        return took / share if share > 0 else ALONE_SHARES

    def _line(self) -> str:
        left = self.left()
        rest = "" if left is None else f", about {_clock(left)} left" if left else ", longer than expected"
        rest = rest if self._done.total() < self._total.total() else ""
        bad = sum(self._bad.values())
        crew = ""
        if self._machines:
            rate = self._done.total() / max(1e-9, time.monotonic() - self._began)
            machines = f"{self._machines} machine{'s' * (self._machines != 1)}"
            crew = f"; {machines}, {self._under_way} of {self._workers} places at work, {rate:.3g} trials/s"
        return f"{self._done.total()}/{self._total.total()} trials{rest}" + (f", {bad} failed" if bad else "") + crew

    def _table(self) -> Group:
        total, done = self._total.total(), self._done.total()
        table = Table.grid(padding=(0, 1))
        table.add_row(Text(self._line()), ProgressBar(total=total, completed=done, width=30))
        columns = dict.fromkeys(label for _, label in self._total)
        for problem in dict.fromkeys(problem for problem, _ in self._total):
            cells = [(problem, label) for label in columns]
            ended, planned = (sum(count[cell] for cell in cells) for count in (self._done, self._total))
            states = Text.assemble(*map(self._state, cells), (f"  {ended}/{planned}", "dim"))
            table.add_row(Text(problem), states)
        marks = "· waiting  ▪ under way  ■ done  x with failures, from left to right "
        return Group(table, Text(marks + ", ".join(columns), "dim"))

    def _state(self, cell: tuple[str, str]) -> tuple[str, str]:
        """One mark a cell: not to run, waiting, under way, done, done with failures."""
        if not self._total[cell]:
            return " ", ""
        if not self._done[cell]:
            return "·", "dim"
        if self._bad[cell]:
            return "x", "red"
        return ("■", "green") if self._done[cell] == self._total[cell] else ("▪", "yellow")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
