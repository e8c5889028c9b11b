"""What the executor makes of what a cluster says, which is played here: blame, doubles, one group a machine."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace

import pytest

pytest.importorskip("distributed", reason="the extra cluster is not installed")

from optbench.core.trial import Trial
from optbench.execution.cluster.executor import MAX_FAULTS, MAX_LOSSES, ClusterExecutor
from optbench.execution.cluster.link import Event
from optbench.execution.cluster.machines import Machines, Worker
from optbench.execution.executor import ExecutorError
from optbench.execution.options import RunOptions
from optbench.execution.task import LaneGroup, resolve
from optbench.registry.catalog import Catalog

CATALOG = Catalog()
FACTS = {"machine": {"cpu": "a", "cores": 2, "gpu": None}, "versions": {}, "ceiling": 1.0}


class Played:
    """A session whose cluster does what a script says: for every task handed over, the events that follow."""

    def __init__(self, script, workers=(("w1", "m1"),), kinds=None) -> None:
        self.machines = Machines()
        for address, host in workers:
            facts = FACTS | {"machine": FACTS["machine"] | {"cpu": (kinds or {}).get(host, "a")}}
            self.machines.join(Worker(address, host, host, 1, facts))
        self.run = "run"
        self.answers: dict = {}
        self.under_way: dict = {}
        self.refused: dict = {}
        self.handed: list = []
        self.bundles: list = []
        self.forgotten: list = []
        self.dismissed: list = []
        self._script = script
        self._events: deque = deque()
        self.link = SimpleNamespace(is_connected=True, submit=self._submit)

    def _submit(self, key, task, run, groups, limit, worker=""):
        names = [name for name, _ in groups]
        self.bundles.append(names)
        self.handed.append((key, names[0], worker))
        self._events.extend(self._script(len(self.handed), key, names[0] if len(names) == 1 else names, worker))
        return SimpleNamespace(cancel=lambda **_: None, release=lambda: None)

    def next_event(self, seconds):
        assert self._events, "the executor waits for what will never come"
        event = self._events.popleft()
        if event.kind == "left":
            self.machines.leave(event.address)
        return event

    def forget(self, names):
        self.forgotten.append(names)

    def dismiss(self, address, why):
        self.dismissed.append(why)
        self.machines.leave(address)


def group(seed=0, third_party=(), lanes=1):
    return LaneGroup(tuple(Trial("sphere_2d", "adam", (), seed + k, 5.0) for k in range(lanes)), third_party)


def answer(of: LaneGroup, name: str, worker="w1", **more):
    records = [one.record("spent") for one in resolve(of.trials, CATALOG)]
    return {
        "id": name,
        "worker": worker,
        "lines": [one.line() for one in records],
        "seconds": 1.0,
        "full": False,
    } | more


def began(name, life, kind="began"):
    return Event(kind, "w1", {"id": name, "life": life})


def run(session, groups, **more):
    executor = ClusterExecutor(session, CATALOG, RunOptions(), **more)
    executor.submit(groups)
    found = list(executor.outcomes())
    executor.close()
    return found


def test_a_second_answer_is_dropped() -> None:
    one = group()

    def script(count, key, name, worker):
        return [Event("done", key, [answer(one, name)]), Event("done", key, [answer(one, name)])]

    (outcome,) = run(Played(script), [one])
    assert outcome.machine == "m1" and [record.status for record in outcome.records] == ["spent"]


def test_what_dask_gives_up_for_waiting_on_a_lost_worker_runs_again() -> None:
    one = group(third_party=("x:Y",))

    def script(count, key, name, worker):
        lost = [Event("broken", key, RuntimeError("KilledWorker"))]
        return lost if count <= 3 * MAX_LOSSES else [Event("done", key, [answer(one, name)])]

    session = Played(script)
    (outcome,) = run(session, [one])
    assert outcome.records[0].status == "spent" and len({key for key, *_ in session.handed}) == 3 * MAX_LOSSES + 1


@pytest.mark.parametrize("third_party", [("x:Y",), ()])
def test_who_ends_its_worker_every_time_is_told_from_bad_luck(third_party) -> None:
    one = group(third_party=third_party)

    def script(count, key, name, worker):
        return [began(name, f"life {n}") for n in range(MAX_LOSSES + 1)] + [Event("done", key, [answer(one, name)])]

    (outcome,) = run(Played(script), [one])
    assert outcome.records[0].status == ("killed" if third_party else "spent")

    def lucky(count, key, name, worker):  # as often begun, but ended: run again only because its result was lost
        lives = [event for n in range(9) for event in (began(name, f"{n}"), began(name, f"{n}", "ended"))]
        return [*lives, *(began(name, f"b{n}") for n in range(MAX_LOSSES)), Event("done", key, [answer(one, name)])]

    (outcome,) = run(Played(lucky), [one])
    assert outcome.records[0].status == "spent"


def test_a_machine_that_cannot_work_is_left_out_and_its_groups_run_elsewhere() -> None:
    one = group()

    def script(count, key, name, worker):
        if count <= MAX_FAULTS:
            return [Event("done", key, [{"id": name, "worker": "w1", "lost": "no space", "blame": "machine"}])]
        return [Event("done", key, [answer(one, name, "w2")])]

    session = Played(script, (("w1", "m1"), ("w2", "m2")))
    (outcome,) = run(session, [one])
    assert session.dismissed == ["no space"] and outcome.machine == "m2"


def test_our_own_code_that_loses_every_host_is_the_machines_fault() -> None:
    def script(count, key, name, worker):
        return [Event("done", key, [{"id": name, "worker": "w1", "lost": "its host was lost", "blame": "unknown"}])]

    with pytest.raises(ExecutorError, match=r"its host was lost.*goes on"):
        run(Played(script), [group()])
    (outcome,) = run(Played(script), [group(third_party=("x:Y",))])
    assert outcome.records[0].status == "killed"


def test_alone_is_one_group_a_machine_on_one_kind_of_machine() -> None:
    groups = [group(seed) for seed in range(6)]
    by_name: dict = {}
    waiting: list = []

    def script(count, key, name, worker):
        waiting.append((key, name, worker))
        busy = [place for *_, place in waiting]
        assert len(busy) == len(set(busy)), "two groups on one machine"
        if len(waiting) < 2 and count < 6:
            return []
        done = [*waiting]
        waiting.clear()
        return [Event("done", key, [answer(by_name[name], name, place)]) for key, name, place in done]

    workers = (("w1", "m1"), ("w1b", "m1"), ("w2", "m2"), ("w3", "m3"))
    session = Played(script, workers, {"m1": "a", "m2": "a", "m3": "b"})
    executor = ClusterExecutor(session, CATALOG, RunOptions(), alone=True)
    executor.submit(groups)
    by_name.update({job.name: job.group for job in executor._jobs.values()})
    assert len(list(executor.outcomes())) == 6
    assert {worker for *_, worker in session.handed} == {"w1", "w2"} and executor.kind == ("a", 2, None)


def test_a_group_goes_on_where_a_worker_has_it_already() -> None:
    one = group()
    session = Played(
        lambda count, key, name, worker: [Event("done", key, [answer(one, name, worker)])], (("w1", "m1"), ("w2", "m2"))
    )
    executor = ClusterExecutor(session, CATALOG, RunOptions())
    from optbench.execution.cluster.setup import group_name

    session.under_way[group_name(one)] = ("w2", b"")
    executor.submit([one])
    (outcome,) = executor.outcomes()
    assert outcome.machine == "m2"


def test_a_group_whose_machine_leaves_goes_to_another() -> None:
    one = group()

    def script(count, key, name, worker):
        return [Event("left", worker)] if count == 1 else [Event("done", key, [answer(one, name, worker)])]

    session = Played(script, (("w1", "m1"), ("w2", "m2")))
    (outcome,) = run(session, [one], alone=True)
    assert outcome.machine == "m2"


def test_what_has_its_record_need_not_be_kept() -> None:
    one = group()
    session = Played(lambda count, key, name, worker: [Event("done", key, [answer(one, name)])])
    run(session, [one])
    assert [name for names in session.forgotten for name in names.get("w1", [])] == [session.handed[0][1]]


def test_a_machine_keeps_its_name_when_the_coordinator_is_started_again() -> None:
    first = Machines()
    for ip in ("10.0.0.1", "10.0.0.2"):
        first.join(Worker(f"tcp://{ip}:1", "vm", ip, 1, FACTS))
    again = Machines(first.entries.values())
    for ip in ("10.0.0.2", "10.0.0.1"):
        again.join(Worker(f"tcp://{ip}:2", "vm", ip, 1, FACTS))
    names = [{worker.ip: worker.machine for worker in one.workers.values()} for one in (first, again)]
    assert names[0] == names[1] == {"10.0.0.1": "vm", "10.0.0.2": "vm@10.0.0.2"}


def test_short_groups_travel_together_and_one_by_one_once_their_task_was_lost() -> None:
    groups = [group(seed, third_party=("x:Y",)) for seed in range(200)]
    by_name: dict = {}
    lost: list = []

    def script(count, key, names, worker):
        names = [names] if isinstance(names, str) else names
        if len(names) > 1 and not lost:
            lost.extend(names)
            return [Event("done", key, [{"id": n, "worker": "w1", "lost": "gone", "blame": "unknown"} for n in names])]
        return [Event("done", key, [answer(by_name[name], name, seconds=0.01) for name in names])]

    session = Played(script)
    executor = ClusterExecutor(session, CATALOG, RunOptions())
    executor.submit(groups)
    by_name.update({job.name: job.group for job in executor._jobs.values()})
    outcomes = list(executor.outcomes())
    assert sorted(one.group.trials[0].seed for one in outcomes) == list(range(200))
    assert all(record.status == "spent" for one in outcomes for record in one.records), "no group is blamed"
    again = [names for names in session.bundles if set(names) & set(lost)][1:]
    assert len(lost) > 1 and [len(names) for names in again] == [1] * len(lost)
    assert max(len(names) for names in session.bundles) > 8 and len(session.bundles) < 100
