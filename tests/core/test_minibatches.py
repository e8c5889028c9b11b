"""Minibatches: the same for every optimizer and candidate, and every sample once an epoch."""

from __future__ import annotations

import torch
from helpers.metering import Bowl

from optbench.core.minibatches import batches
from optbench.engine.metered import metered
from optbench.registry.catalog import Catalog

CATALOG = Catalog()
DIGITS = CATALOG.problem("mlp_digits")


def test_every_optimizer_sees_the_same_batches_and_every_candidate_the_same_one() -> None:
    seen: list[torch.Tensor] = []

    class Spy(Bowl):
        def loss(self, net, batch):
            if len(batch[0]) == 7:  # scoring sees the whole split
                seen.append(batch[0])
            return super().loss(net, batch)

        vmaps = False

    f = metered(Spy(), [5], 100, batch=7)
    seen.clear()
    x = f.start(3)
    f.value(x)
    assert len(seen) == 3 and all(torch.equal(seen[0], other) for other in seen)
    f.value(x)
    by_swarm = [seen[0], seen[3]]
    g = metered(Spy(), [5], 100, batch=7)
    g.parameters()
    seen.clear()
    for _ in range(2):
        g.next_step()
        g.closure()
        g.closure()
    assert torch.equal(seen[0], seen[1]) and torch.equal(seen[2], seen[3])
    assert [torch.equal(a, b) for a, b in zip(by_swarm, seen[::2], strict=True)] == [True, True]


def test_batches_visit_every_sample_once_an_epoch_and_depend_on_the_seed() -> None:
    stream = batches(10, 4, 0)
    drawn = torch.cat([next(stream) for _ in range(5)])
    assert sorted(drawn[:10].tolist()) == sorted(drawn[10:].tolist()) == list(range(10))
    assert not torch.equal(next(batches(100, 50, 0)), next(batches(100, 50, 1)))
