"""What a user sees while a run goes on: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from optbench.core.trial import FAILED, Trial
from optbench.records.schema import Record

_EVERY = 10.0  # seconds between plain lines


class Progress:
    """Counts records as they come and estimates the time that is left from what each cell has taken so far."""

    def __init__(self, trials: Sequence[Trial], workers: int, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._workers = workers
        self._total = Counter(trial.cell for trial in trials)
        # Complete from the start: the table is drawn by another thread, which must not see them grow.
        self._done = Counter(dict.fromkeys(self._total, 0))
        self._bad = Counter(dict.fromkeys(self._total, 0))
        self._took = dict.fromkeys(self._total, 0.0)
        self._statuses: Counter[str] = Counter()
        self._began = self._spoke = self._heard = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            # Drawn anew at every refresh, so that the clock runs on while long trials say nothing.
            self._live = Live(console=self._console, refresh_per_second=4, transient=True, get_renderable=self._table)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def add(self, record: Record, workers_seconds: float) -> None:
        """A trial has ended after taking a worker for `workers_seconds`."""
        cell = (record.problem, record.label)
        self._done[cell] += 1
        self._bad[cell] += record.status in FAILED
        self._took[cell] += workers_seconds
        self._statuses[record.status] += 1
        self._heard = time.monotonic()
        if not self._live and time.monotonic() - self._spoke >= _EVERY:
            self._spoke = time.monotonic()
            self._console.print(self._line(), highlight=False)

    def summary(self) -> str:
        """How the trials ended, in one line."""
        counts = ", ".join(f"{count} {status}" for status, count in sorted(self._statuses.items()))
        took, total = time.monotonic() - self._began, self._statuses.total()
        return f"{total} trial{'s' * (total != 1)} in {_clock(took)}: {counts or 'nothing left to run'}"

    def left(self) -> float | None:
        """Seconds that are left, from the cells' own pace; None while too little has ended to tell.

        Never less than one trial of the slowest cell that has any left: no number of workers shortens that.
        """
        ended = self._done.total()
        if ended < max(1, 0.05 * self._total.total()):
            return None
        usual = sum(self._took.values()) / ended
        work = longest = 0.0
        for cell, total in self._total.items():
            if waiting := total - self._done[cell]:
                pace = self._took[cell] / self._done[cell] if self._done[cell] else usual
                work += waiting * pace
                longest = max(longest, pace)
        return max(0.0, max(work / self._workers, longest) - (time.monotonic() - self._heard))

    def _line(self) -> str:
        left = self.left()
        rest = "" if left is None else f", about {_clock(left)} left" if left else ", longer than expected"
        rest = rest if self._done.total() < self._total.total() else ""
        bad = sum(self._bad.values())
        return f"{self._done.total()}/{self._total.total()} trials{rest}" + (f", {bad} failed" if bad else "")

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
