"""Outcomes of campaigns beside their table, a JSON object a line: a campaign can be stopped, continued and joined."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from optbench.testing.faults.outcome import Outcome


class Ledger:
    """The file FILE.jsonl beside the table FILE.md. An outcome is appended as it comes; a cut last line is none."""

    def __init__(self, table: Path) -> None:
        self.path = table.with_suffix(".jsonl")

    def read(self) -> list[Outcome]:
        """What is there, each fault once. Raises ValueError for a whole line that is no outcome."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        found: dict[str, Outcome] = {}
        *lines, _cut = text.split("\n")
        for number, line in enumerate(lines, 1):
            try:
                outcome = Outcome(**json.loads(line))
            except (ValueError, TypeError):
                raise ValueError(f"{self.path}, line {number} is no outcome of a campaign") from None
            found.setdefault(outcome.again, outcome)
        return [*found.values()]

    def append(self, outcomes: Iterable[Outcome]) -> None:
        """Write some more; what a run that was killed had half written is cut off first."""
        whole = self.path.read_bytes() if self.path.exists() else b""
        with self.path.open("r+b" if whole else "wb") as file:
            file.seek(whole.rfind(b"\n") + 1)
            file.truncate()
            file.write("".join(json.dumps(asdict(outcome)) + "\n" for outcome in outcomes).encode())


def joined(tables: Iterable[Path]) -> list[Outcome]:
    """The outcomes of several tables, each fault once. Raises ValueError where one has none."""
    found: dict[str, Outcome] = {}
    for one in tables:
        there = Ledger(one).read()
        if not there:
            raise ValueError(f"{Ledger(one).path} has no outcomes")
        for outcome in there:
            found.setdefault(outcome.again, outcome)
    return [*found.values()]
