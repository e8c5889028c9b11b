"""What an optimizer computes by itself, between the calls of its oracle: FLOPs and seconds.

Operations of torch are counted as they run. To watch every operation would slow the optimizer down, so some stretches
between two calls are watched, and the others are taken to cost what the latest watched ones did on average. Code that
is not torch says what it does: `Objective.charge_own`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

from optbench.core.watching import Held, Watch

FIRST = 200  # stretches that are watched at the beginning, and again each time that `GROWTH` times as many have passed
GROWTH = 4
SKIPPED = 7  # one in so many of those is not watched: the clock has to know what a stretch takes when nobody watches
NEAR = 4  # watched ones that tell what one between them costs
PERIOD = 4  # a step that always does the same has so many stretches, or a half or a quarter of them
EQUAL = 36  # stretches in a row that cost what those a period before did: then only one in SKIPPED is watched
SETTLED = 120  # the latest of FIRST that tell what those after them cost: of 140, whole periods of every ten steps


class OwnWork:
    """The own work of a lane group. A context: inside, the oracle answers.

    `counting` covers the whole of the optimizer's work. Outside of it nothing is counted. What is done within it is
    done for all lanes together and shared by them alike, but for what is done within `of_lane`.
    """

    def __init__(self, lanes: int, take_off: Callable[[float], None]) -> None:
        """take_off: takes seconds off the clock of the trial, those that watching adds."""
        self._lanes, self._take_off = lanes, take_off
        self._together = _Stretches(take_off)
        self._apart: list[_Stretches] = []  # one a lane, where lanes work one after another
        self._on = False
        self._now: _Stretches | None = None  # whose stretch it is that an oracle ends
        self._charged = [0.0] * lanes
        self._left_out = 0.0

    @property
    def flops(self) -> list[float]:
        """Of each lane, so far."""
        shared = (self._together.flops - self._left_out) / self._lanes
        apart = [one.flops for one in self._apart] or [0.0] * self._lanes
        return [max(0.0, shared + own + stated) for own, stated in zip(apart, self._charged, strict=True)]

    @property
    def state_bytes(self) -> list[int]:
        """Of each lane: the most that tensors of the optimizer's own held while the oracle worked, as far as watched.

        Points under evaluation are among them; parameters in training and what the oracle made are not.
        """
        shared = self._together.state_bytes // self._lanes
        return [shared + one.state_bytes for one in self._apart] or [shared] * self._lanes

    @property
    def charged(self) -> bool:
        """Whether the optimizer has said itself what it did with the data: as own work, or as the problem's."""
        return any(self._charged) or self._left_out > 0

    @property
    def seconds(self) -> float:
        """Of the group, so far: a watched stretch is taken to last as long as the others do on average."""
        return sum(one.seconds for one in (self._together, *self._apart))

    def charge(self, flops: float, lane: int | None = None) -> None:
        """Work that is not torch's: of the whole group, or of one lane. Raises ValueError for a negative number."""
        if flops < 0:
            raise ValueError(f"a charge of {flops} FLOPs: nothing is given back")
        for one in range(self._lanes) if lane is None else [lane]:
            self._charged[one] += flops / self._lanes if lane is None else flops

    def leave_out(self, flops: float) -> None:
        """Work of the group that is charged elsewhere, and would be counted here too."""
        self._left_out += flops

    @contextmanager
    def excluded(self) -> Iterator[None]:
        """The problem's work within a stretch, which cannot end there: inside another operation's backward pass."""
        with (self._now or self._together).excluded():
            yield

    def exclude(self, flops: float) -> None:
        """The stretch under way does so much of the problem's work, in FLOPs; one that is not watched counts none."""
        (self._now or self._together).exclude(flops)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count what happens outside the oracle until the end."""
        self._on, self._now = True, self._together
        self._together.begin()
        try:
            yield
        finally:
            self._on, self._now = False, None
            for one in (self._together, *self._apart):
                one.close()

    @contextmanager
    def of_lane(self, lane: int) -> Iterator[None]:
        """What happens inside is work of this lane alone. From the first time on, what happens outside is nobody's."""
        if not self._on:
            yield
            return
        if not self._apart:
            self._apart = [_Stretches(self._take_off) for _ in range(self._lanes)]
            self._together.end()
        self._now = one = self._apart[lane]
        one.begin()
        try:
            yield
        finally:
            self._now = None
            one.end()

    def __enter__(self) -> None:
        if self._now is not None:
            self._now.end()

    def __exit__(self, *_: object) -> None:
        if self._now is not None:
            self._now.begin()


class _Stretches:
    """The stretches between two calls of the oracle of whoever works by himself: a group, or one of its lanes."""

    def __init__(self, take_off: Callable[[float], None]) -> None:
        self._take_off = take_off
        self._watch: Watch | None = None
        self._since: float | None = None  # when the stretch under way began
        self.flops = 0.0  # so far
        self._latest: list[float] = []  # what the latest watched stretches cost
        self._settled = 0.0  # what each of those costs that come after them, once one did
        self._pattern = [-1.0] * PERIOD  # what the latest watched stretch at each place of a period cost
        self._equal = 0  # how many in a row cost what the pattern says
        self._stretches = self._from = 0  # how many there were, and at which of them the latest watching began
        self._unwatched = 0  # of those that were not watched, how many there were
        self._seconds = self._watched_seconds = 0.0  # and what they took, and what the others did
        self._held = Held()  # by the optimizer, of the tensors that it made
        self.state_bytes = 0  # the most of them while the oracle answered
        self._owed: list[float] = []  # seconds that watched stretches took, whose usual time is not yet on the clock

    @property
    def seconds(self) -> float:
        if not self._unwatched:
            return self._watched_seconds
        watched = self._stretches - self._unwatched
        return self._seconds + min(self._usual * watched, self._watched_seconds)

    @property
    def _usual(self) -> float:
        return self._seconds / self._unwatched

    @contextmanager
    def excluded(self) -> Iterator[None]:
        watch, began = self._watch, perf_counter()
        if watch is not None:
            watch.paused = True
        try:
            yield
        finally:
            if watch is not None:
                watch.paused = False
            if self._since is not None:
                self._since += perf_counter() - began

    def exclude(self, flops: float) -> None:
        if self._watch is not None:
            self._watch.flops -= flops

    def begin(self) -> None:
        if self._stretches >= self._from + FIRST and self._stretches >= GROWTH * max(self._from, FIRST):
            self._from, self._latest, self._settled, self._equal = self._stretches, [], 0.0, 0
        if self._to_watch(self._stretches - self._from):
            self._watch = Watch(self._held)
            self._watch.__enter__()
        self._since = perf_counter()

    @property
    def _steady(self) -> bool:
        return self._equal >= EQUAL

    def _to_watch(self, place: int) -> bool:
        """Whether this stretch since the latest watching began is watched: most, and few once they cost the same."""
        if place <= SKIPPED:  # the first of all also set up what others use
            return True
        return place < FIRST and (place % SKIPPED == 0) == self._steady

    def _cost(self, place: int) -> float:
        """What a stretch does that is not watched."""
        if self._steady or (place < FIRST and self._equal >= PERIOD):
            return self._pattern[place % PERIOD]
        if place < FIRST:
            near = self._latest[-NEAR:]
            return sum(near) / len(near)
        self._settled = self._settled or sum(self._latest[-SETTLED:]) / len(self._latest[-SETTLED:])
        return self._settled

    def _learn(self, place: int, cost: float) -> None:
        """What a watched stretch has cost."""
        self._latest.append(cost)
        self._equal = self._equal + 1 if cost == self._pattern[place % PERIOD] else 0
        self._pattern[place % PERIOD] = cost

    def end(self) -> None:
        if self._since is None:
            return
        took, self._since = perf_counter() - self._since, None
        place = self._stretches - self._from
        self._stretches += 1
        if self._watch is not None:
            self._watch.__exit__(None, None, None)
            self.flops += self._watch.flops
            self._learn(place, self._watch.flops)
            self.state_bytes = max(self.state_bytes, self._held.nbytes())
            self._owed.append(took)
            self._watched_seconds += took
            self._take_off(took)
            self._watch = None
            return
        self.flops += self._cost(place)
        self._seconds += took
        self._unwatched += 1
        if self._owed:
            # what was watched took no less than what is not
            self._take_off(-min(self._usual * len(self._owed), sum(self._owed)))
            self._owed.clear()

    def close(self) -> None:
        if self._watch is not None:
            self.end()  # what follows the last answer of the oracle, a Stop as a rule, is no whole stretch
        self._since = None
        if not self._unwatched:
            self._take_off(-sum(self._owed))
