"""Every class of three libraries trains a network as it stands, through the notation where it asks for a base.

pytorch_optimizer is the extra `modern`. torch_optimizer and schedulefree stand for libraries that nobody has looked at:
they are named nowhere else, and their tests are skipped where they are not installed.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest
import torch

from optbench.core.trial import Trial
from optbench.execution.lane_group import run_group
from optbench.optimizers.gradient.combination import base_argument
from optbench.registry.catalog import Catalog
from optbench.registry.specs import parse

CATALOG = Catalog()
PASSES = 10.0

# Classes that do not train a plain network in one process, each with the reason.
CANNOT: dict[str, dict[str, str]] = {
    "torch.optim": {"SparseAdam": "it takes sparse gradients alone, and a dense network has none"},
    "pytorch_optimizer": {
        "DistributedMuon": "several processes",
        "DeMo": "several processes, and the package einops",
        "SafeFP16Optimizer": "parameters of half precision",
        "GSAM": "a scheduler of rho, an object that no text can name",
        "BSAM": "it climbs: its perturbation stays, and weight_decay multiplies the gradient of its step",
    },
    "torch_optimizer": {},
    "schedulefree": {},
}
# What a class needs beside its name: its own learning rate is for other networks, or it takes matrices alone.
WITH: dict[str, str] = {
    "torch.optim:Muon": "torch.optim:Muon + adamw",
    "torch.optim:RMSprop": "torch.optim:RMSprop[lr=0.001]",
    "pytorch_optimizer:SpectralSphere": "pytorch_optimizer:SpectralSphere{ndim=2} + adamw",
    "pytorch_optimizer:DAdaptAdan": "pytorch_optimizer:DAdaptAdan[lr=0.1]",
    "pytorch_optimizer:DAdaptLion": "pytorch_optimizer:DAdaptLion[lr=0.01]",
    "pytorch_optimizer:DAdaptSGD": "pytorch_optimizer:DAdaptSGD[lr=0.1]",
    "pytorch_optimizer:Kate": "pytorch_optimizer:Kate[lr=0.0001]",
}
FAST = (
    "AdaHessian",
    "AdaMuon",
    "LOMO",
    "Lookahead",
    "OrthoGrad",
    "PCGrad",
    "Ranger21",
    "SAM",
    "ScheduleFreeWrapper",
    "SOAP",
)


def classes(library: str) -> list[str]:
    """Names of the optimizer classes that the library offers; none where it is not installed."""
    try:
        module = importlib.import_module(library)
    except ModuleNotFoundError:
        return []
    return [
        name
        for name, cls in sorted(vars(module).items())
        if isinstance(cls, type)
        and issubclass(cls, torch.optim.Optimizer)
        and cls is not torch.optim.Optimizer
        and not inspect.isabstract(cls)
    ]


def trained(library: str, name: str, problem: str = "mlp_digits", passes: float = PASSES) -> str | None:
    """None where the class ends below its start within the budget; else what came of it."""
    cls: Any = getattr(importlib.import_module(library), name)
    text = WITH.get(f"{library}:{name}", f"{library}:{name}" + ("(adamw[lr=0.001])" if base_argument(cls) else ""))
    ((spec, hyper),) = parse(text)
    record = run_group([Trial(problem, spec, tuple(sorted(hyper.items())), 0, passes)], CATALOG)[0]
    if record.status != "spent" or record.passes > passes:
        return f"{text}: {record.status}, {record.error}"
    first, last = record.curve[0]["loss"], record.curve[-1]["loss"]
    return None if last < first else f"{text}: from {first:.4g} to {last:.4g}"


def failures(library: str, problem: str = "mlp_digits", passes: float = PASSES) -> list[str]:
    """What came of the classes that should train and do not."""
    tried = [trained(library, name, problem, passes) for name in classes(library) if name not in CANNOT[library]]
    return [text for text in tried if text]


@pytest.mark.parametrize("problem", ["mlp_digits", "cnn_digits"])
def test_every_class_of_torch_but_one_trains(problem: str) -> None:
    assert not failures("torch.optim", problem, 10.0 if problem == "mlp_digits" else 3.0)
    assert len(classes("torch.optim")) >= 15


@pytest.mark.parametrize("name", FAST)
def test_classes_of_every_kind_train(name: str) -> None:
    pytest.importorskip("pytorch_optimizer", reason="the extra `modern` is not installed")
    assert trained("pytorch_optimizer", name) is None


@pytest.mark.parametrize(
    ("settings", "descends"),
    [({}, False), ({"lr": 0.1}, False), ({"lr": 0.001}, False), ({"rho": 0.0, "weight_decay": 1.0, "lr": 0.1}, True)],
)
def test_bsam_climbs_at_any_rate_but_without_its_perturbation(settings: dict[str, float], descends: bool) -> None:
    """What is said of it in the documentation, on f(p) = p'p, in a loop of its own."""
    library = pytest.importorskip("pytorch_optimizer", reason="the extra `modern` is not installed")
    p = torch.nn.Parameter(torch.ones(3))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        optimizer = library.BSAM([p], num_data=100_000, **settings)

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = p.square().sum()
            loss.backward()
            return loss

        for _ in range(10):
            closure()
            optimizer.step(closure)
    last = float(p.detach().square().sum())
    assert last < 0.5 if descends else last > 10.0


@pytest.mark.campaign
@pytest.mark.parametrize("library", ["pytorch_optimizer", "torch_optimizer", "schedulefree"])
def test_at_least_95_percent_of_a_library_train_as_they_stand(library: str) -> None:
    pytest.importorskip(library, reason=f"{library} is not installed")
    found = classes(library)
    assert not failures(library)
    assert len(found) - len(CANNOT[library]) >= 0.95 * len(found)
