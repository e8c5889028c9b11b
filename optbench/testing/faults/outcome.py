"""What came of one fault or one plugin."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field


@dataclass
class Outcome:
    """One line's worth of a campaign."""

    kind: str
    index: int
    injected: bool = False  # False: the run was over before the fault came, every time
    seconds: float = 0.0  # that the same command took afterwards, to its end; of a plugin, that its run took
    detail: str = ""  # what exactly was done
    failures: list[str] = field(default_factory=list)
    campaign: str = ""  # that it is part of: "faults of seed 1"
    again: str = ""  # the command that does it again, and names it


def as_they_end(calls: Iterable[Callable[[], Outcome]], jobs: int) -> Iterator[Outcome]:
    """The outcomes of calls as each of them ends; `jobs` are under way at a time."""
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(call) for call in calls]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)
