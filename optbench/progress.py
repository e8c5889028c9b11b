"""What a user sees while a run goes on: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from optbench.trial import FAILED, Record, Trial

_EVERY = 10.0  # seconds between plain lines


class Progress:
    """Counts records as they come and estimates the time that is left from what each cell has taken so far."""

    def __init__(self, trials: Sequence[Trial], workers: int, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._workers = workers
        self._total = Counter(trial.cell for trial in trials)
        self._done: Counter[tuple[str, str]] = Counter()
        self._bad: Counter[tuple[str, str]] = Counter()
        self._took: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._statuses: Counter[str] = Counter()
        self._began = self._spoke = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live = Live(self._table(), console=self._console, refresh_per_second=4, transient=True)
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
        if self._live:
            self._live.update(self._table())
        elif time.monotonic() - self._spoke >= _EVERY:
            self._spoke = time.monotonic()
            self._console.print(self._line(), highlight=False)

    def summary(self) -> str:
        """How the trials ended, in one line."""
        counts = ", ".join(f"{count} {status}" for status, count in sorted(self._statuses.items()))
        took = time.monotonic() - self._began
        return f"{self._statuses.total()} trials in {took:.0f} s: {counts or 'nothing left to run'}"

    def left(self) -> float | None:
        """Seconds that are left, from the cells' own pace; None while too little has ended to tell."""
        ended = self._done.total()
        if ended < max(1, 0.05 * self._total.total()):
            return None
        usual = sum(self._took.values()) / ended
        work = 0.0
        for cell, total in self._total.items():
            pace = self._took[cell] / self._done[cell] if self._done[cell] else usual
            work += (total - self._done[cell]) * pace
        return work / self._workers

    def _line(self) -> str:
        left = self.left()
        rest = "" if left is None else f", about {_clock(left)} left"
        bad = sum(self._bad.values())
        return f"{self._done.total()}/{self._total.total()} trials{rest}" + (f", {bad} failed" if bad else "")

    def _table(self) -> Table:
        total, done = self._total.total(), self._done.total()
        table = Table.grid(padding=(0, 1))
        table.add_row(Text(self._line()), ProgressBar(total=total, completed=done, width=30))
        for problem in dict.fromkeys(problem for problem, _ in self._total):
            states = Text()
            for cell in self._total:
                if cell[0] == problem:
                    states.append(*self._state(cell))
            table.add_row(Text(problem), states)
        return table

    def _state(self, cell: tuple[str, str]) -> tuple[str, str]:
        """One mark a cell: waiting, under way, done, done with failures."""
        if not self._done[cell]:
            return "·", "dim"
        if self._bad[cell]:
            return "x", "red"
        return ("■", "green") if self._done[cell] == self._total[cell] else ("▪", "yellow")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
