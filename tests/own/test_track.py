"""A loop of one's own as a trial: what it counts, what it costs, that it is marked, and that it compares."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from helpers.pages import unfolded
from torch import nn

import optbench
from optbench.core.trial import RequestError
from optbench.records.files import read_records

X = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
Y = X.sum(1, keepdim=True)


def loop(folder: Path, rate: float, seed: int, pause: float = 0.0) -> None:
    torch.manual_seed(seed)
    net = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=rate)
    with optbench.track(folder, "line", f"sgd[lr={rate}]", seed=seed, samples=64, passes=24) as t:
        t.point(loss=float((net(X) - Y).square().mean().detach()))
        while not t.done:
            loss = (net(X) - Y).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            t.step(len(X))
            with t.paused():
                time.sleep(pause)
            t.point(loss=float((net(X) - Y).square().mean().detach()))


def test_a_loop_is_a_trial_that_says_it_was_self_reported(tmp_path: Path) -> None:
    for seed in range(3):
        loop(tmp_path, 0.1, seed)
        loop(tmp_path, 0.001, seed)
    records, wrong = read_records(tmp_path)
    assert len(records) == 6 and not wrong
    for record in records:
        assert (record.status, record.forward, record.backward, record.passes) == ("spent", 8 * 64, 8 * 64, 24.0)
        assert len(record.curve) == 9 and "self-reported" in str(record.note)
    study = optbench.Comparison(tmp_path)
    assert study.table().index[0] == "sgd[lr=0.1]" and "lowest seen in this study" in study.verdict
    assert "self-reported" in unfolded(study.to_html())


def test_scoring_and_pauses_are_off_the_clock_and_the_same_trial_again_replaces(tmp_path: Path) -> None:
    loop(tmp_path, 0.1, 0, pause=0.02)
    loop(tmp_path, 0.1, 0, pause=0.02)
    (record,) = read_records(tmp_path)[0]
    assert 0 < record.seconds < 0.16


def test_a_loop_that_fails_has_its_reason_and_the_error_goes_on(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a bad day"), optbench.track(tmp_path, "p", "mine", samples=4, passes=2):
        raise ValueError("a bad day")
    with optbench.track(tmp_path, "p", "silent", samples=4, passes=2):
        pass
    failed, silent = read_records(tmp_path)[0]
    assert failed.status == silent.status == "failed" and "a bad day" in str(failed.error)
    assert "no point was reported" in str(silent.error)
    with pytest.raises(RequestError, match="must be positive"):
        optbench.track(tmp_path, "p", "mine", samples=0, passes=2)
