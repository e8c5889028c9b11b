"""What came of one fault or one plugin."""

from __future__ import annotations

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
