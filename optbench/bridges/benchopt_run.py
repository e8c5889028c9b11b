"""One trial inside benchopt: every point that optbench scores is told to benchopt's callback."""

from __future__ import annotations

from collections.abc import Callable

from optbench.core.objective import Stop
from optbench.core.scoring import Point
from optbench.engine.metered import metered
from optbench.execution import machine
from optbench.execution.lane_group import batch_size, train
from optbench.execution.task import unsupported_reason
from optbench.registry.catalog import Catalog
from optbench.registry.specs import parse


class Training:
    """An optimizer on a problem. Raises RequestError for a name or setting that there is not."""

    def __init__(self, configuration: str, problem: str, passes: float, seed: int) -> None:
        """configuration: "pso[swarm=20]". passes: the budget."""
        catalog = Catalog()
        (name, hyper), *_ = parse(configuration)
        self._problem, self._built = catalog.problem(problem), catalog.optimizer(name, hyper)
        self._passes, self._seed = passes, seed
        self._callback: Callable[[], bool] | None = None
        self._stopped = False
        self.scores: Point = {}  # the latest: passes, loss, seconds and every metric

    @property
    def unsupported_reason(self) -> str | None:
        """Why this optimizer cannot train this problem; None where it can."""
        return unsupported_reason(self._built, self._problem)

    def run(self, callback: Callable[[], bool]) -> None:
        """Train; the callback is called after every scored point and may end the run by saying False.

        Raises RuntimeError, with the reason, where the optimizer fails: benchopt then reports an error.
        """
        self._callback, self._stopped = callback, False
        with machine.threads(1):
            f = metered(
                self._problem,
                [self._seed],
                self._passes,
                batch=batch_size(self._built, self._problem),
                on_point=self._told,
                needs=self._built.needs,
            )
            f.start_clock()
            status, reason = train(self._built.optimizer, f, self._seed)
            if status in ("failed", "inapplicable") and not self._stopped:
                raise RuntimeError(reason)
            f.finish()

    def _told(self, lane: int, point: Point) -> None:
        self.scores = dict(point)
        if not self._stopped and self._callback is not None and not self._callback():
            self._stopped = True
            raise Stop
