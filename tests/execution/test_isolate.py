"""`--isolate`: an optimizer without the problem trains as with it, to the last bit, and reaches nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from helpers.plugins import HEAD, quiet

from optbench.core.trial import RequestError
from optbench.execution.options import RunOptions
from optbench.execution.runner import run_suite
from optbench.execution.suite import Suite
from optbench.records.schema import Record

METHODS = (
    HEAD
    + '''
@dataclass(frozen=True)
class Walks(Base):
    step: float = 0.1
    def minimise(self, f):
        x = f.start()
        lowest = f.value(x[:, None])
        while True:
            y = x + self.step * (1 - f.progress) * f.randn(f.dim)
            loss = f.value(y[:, None])
            x, lowest = torch.where((loss < lowest), y, x), torch.minimum(loss, lowest)

@dataclass(frozen=True)
class Crowds(Base):
    """A generation of more candidates than there is room for at first."""
    def minimise(self, f):
        while True:
            x = f.start(300) * f.rand(300, 1)
            f.value(x)
            f.charge_own(10.0)

@dataclass(frozen=True)
class Descends(Base):
    needs: ClassVar[str] = "grad"
    def minimise(self, f):
        x = f.start()
        for _ in range(7):
            f.next_step()
            x = x - 0.1 * f.value_and_grad(x)[1]
        f.recommend(x * 0.9)

class Heavy(torch.optim.SGD):
    def __init__(self, params, lr=0.05): super().__init__(params, lr=lr, momentum=0.9)

class Whole(torch.optim.Optimizer):
    """Not element by element: a layer is scaled by its gradient's norm; it gives a parameter new memory."""
    def __init__(self, params, lr=0.05): super().__init__(params, dict(lr=lr))
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.data = p - group["lr"] * p.grad / (1 + p.grad.norm())
'''
)


def run(folder: Path, text: str, names: tuple[str, ...], problem: str = "mlp_iris", **how: Any) -> list[Record]:
    folder.mkdir(exist_ok=True)
    (folder / "methods.py").write_text(text)
    suite = Suite("s", (problem,), names, seeds=how.pop("seeds", 3), passes=12, timeout=how.pop("timeout", 60.0))
    out = folder / ("isolated" if how.get("isolate") else "plain")
    options = RunOptions(workers=2, plugins=(str(folder / "methods.py"),), **how)
    records = run_suite(suite, out, options, quiet)
    assert not (out / ".spool").exists()
    return records


def told(record: Record) -> tuple[Any, ...]:
    clocks = ("seconds", "own_flops")
    curve = [{name: value for name, value in point.items() if name not in clocks} for point in record.curve]
    counts = record.forward, record.backward, record.evaluations, record.flops, record.passes
    return record.key, record.status, record.error, record.lanes, *counts, curve


@pytest.mark.parametrize(("problem", "lanes"), [("mlp_digits", 1), ("mlp_iris", 3)])
def test_isolated_records_are_those_of_the_same_optimizers_beside_their_problem(
    problem: str, lanes: int, tmp_path: Path
) -> None:
    shaped, shared = "heavy[accumulate=3,clip_norm=0.5]", "heavy{place=first,layer=Linear} + whole"
    names = ("walks[step=0.1,0.2]", "crowds", "descends", "heavy[precision=bf16]", "whole", shaped, shared)
    how = {"lanes": lanes, "seeds": lanes}
    plain = run(tmp_path, METHODS, names, problem, **how)
    isolated = run(tmp_path, METHODS, names, problem, **how, isolate=True)
    for one, two in zip(plain, isolated, strict=True):
        assert told(one) == told(two)
        assert two.note == ", ".join(["isolated", *([one.note] if one.note else [])])
        assert one.status in ("spent", "finished"), one.error
        assert one.own_flops == two.own_flops and one.own_flops > 0
        assert two.own_seconds > 0


REACHES = (
    HEAD
    + """
def reaches(name, body, needs="value"):
    space = {}
    lines = "\\n".join("    " + line for line in body.splitlines())
    exec(f"def minimise(self, f):\\n{lines}", globals(), space)
    made = dataclass(frozen=True)(type(name, (Base,), {"needs": needs, "name": name, "minimise": space["minimise"]}))
    made.__module__ = __name__
    globals()[name] = made

"""
)
ATTEMPTS = {
    "data": ("f._data.train[0].zero_()", "failed", "_data"),
    "curve": ("f._scoring.curves[0][0]['loss'] = 0.0", "failed", "_scoring"),
    "meter": ("f._meter.units = 0", "failed", "_meter"),
    "gradients": ("f.value_and_grad(f.start())", "failed", "needs = 'value' but calls value_and_grad"),
    "structure": ("f.structure()", "inapplicable", "without --isolate"),
    "exits": ("f.value(f.start(2)); os._exit(3)", "killed", "exited its process with code 3"),
    "hangs": ("f.value(f.start(2))\nwhile True: time.sleep(0.01)", "timeout", "within 4 s"),
    "ignores_stop": (
        "while True:\n    try: f.value(f.start(2))\n    except BaseException: pass",
        "killed",
        "ignored the budget",
    ),
    "shape": ("f.value(torch.zeros(1, 2, 3))", "failed", "ValueError: points of shape"),
    "lies_on_the_pipe": ("f._connection.send_bytes(b'[[[')\nf.value(f.start(2))", "failed", "what no optimizer says"),
    "asks_for_what_there_is_not": ("f._ask('minimise')", "failed", "which there is not"),
    "asks_for_too_much": ("f._ask('room', 10**12)", "failed", "more than its memory"),
    "raises_stop": ("import optbench.core.objective as o; raise o.Stop", "failed", "raised Stop itself"),
    "own_scorer": (
        "import optbench.engine.scorer as s; s.Scorer._scores = lambda *a: {'loss': torch.zeros(())}\n"
        "torch.nn.functional.cross_entropy = lambda *a, **k: torch.zeros(())\nf.value(f.start(2))",
        "finished",
        "",
    ),
}


def test_what_an_isolated_optimizer_tries_reaches_nothing(tmp_path: Path) -> None:
    made = "".join(f"reaches({name!r}, {body!r})\n" for name, (body, _, _) in ATTEMPTS.items())
    records = run(tmp_path, REACHES + made, tuple(ATTEMPTS), seeds=1, timeout=4.0, isolate=True)
    for record in records:
        _, status, reason = ATTEMPTS[record.optimizer]
        assert record.status == status and reason in (record.error or ""), (
            record.optimizer,
            record.status,
            record.error,
        )
    (honest,) = [record for record in records if record.optimizer == "own_scorer"]
    assert honest.curve[-1]["loss"] > 0.1


MORE = """
from optbench import Problem, Splits

@dataclass(frozen=True)
class Mine(Problem):
    track: ClassVar[str] = "function"
    def network(self): return torch.nn.Linear(2, 1, bias=False)
    def data(self): return Splits((torch.zeros(1, 0),))
    def loss(self, net, batch): return net(torch.eye(2)).square().sum()

@dataclass(frozen=True)
class Exact(Base):
    needs: ClassVar[str] = "exact"
    def minimise(self, f): f.structure()

class Averaged(Heavy):
    def train(self): pass
    def eval(self): pass
"""


@pytest.mark.parametrize(
    ("problem", "optimizer", "reason"),
    [
        ("mine", "walks", "its problem stands in the same file"),
        ("xor_sign", "exact", "it reads the structure of its problem"),
        ("mlp_iris", "averaged", "it is scored in a mode of its own"),
        ("mlp_iris", "heavy[swa=0.5]", "it is scored at an average of its points"),
    ],
)
def test_who_cannot_be_isolated_is_refused_before_work(
    problem: str, optimizer: str, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "methods.py").write_text(METHODS + MORE)
    suite = Suite("s", (problem,), ("adam", optimizer), seeds=1, passes=5)
    options = RunOptions(workers=1, plugins=(str(tmp_path / "methods.py"),), isolate=True)
    with pytest.raises(RequestError, match=rf"{re.escape(optimizer)} cannot run isolated: {reason}; leave it or"):
        run_suite(suite, tmp_path / "out", options, quiet)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("where", [{"device": "cuda"}, {"cluster": "local:2"}])
def test_other_machines_and_devices_share_no_memory(where: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="--isolate shares memory on this machine's processors"):
        RunOptions(isolate=True, **where)
