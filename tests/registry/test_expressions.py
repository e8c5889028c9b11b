"""The notation of combinations: what it means, that it is written back, and what a refusal shows."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from optbench.core.trial import RequestError, spec
from optbench.execution.plan import plan
from optbench.execution.suite import Suite
from optbench.registry.catalog import Catalog
from optbench.registry.specs import parse

CATALOG = Catalog()


@pytest.mark.parametrize(
    ("text", "name", "hyper"),
    [
        ("torch.optim:Muon[lr=0.02] + adamw[lr=0.001]", "torch.optim:Muon + adamw", {"1.lr": 0.02, "2.lr": 0.001}),
        ("a:SAM[rho=0.05](adamw[lr=0.001])", "a:SAM(adamw)", {"1.rho": 0.05, "2.lr": 0.001}),
        ("sgd{ place=last , ndim=2 } + adam", "sgd{ndim=2,place=last} + adam", {}),
        ("a:W(b:V(sgd[lr=1])){name=*.weight} + adam[betas=(0.9,0.99)]", "a:W(b:V(sgd)){name=*.weight} + adam", None),
        ("adam[lr=0.01]", "adam", {"lr": 0.01}),
        ("/tmp/a (b)+c/m.py:M[x=1]", "/tmp/a (b)+c/m.py:M", {"x": 1}),
        ("adam[note=a + b]", "adam", {"note": "a + b"}),
    ],
)
def test_a_combination_is_read_and_written_back(text: str, name: str, hyper: dict[str, object] | None) -> None:
    ((found, settings),) = parse(text)
    assert found == name and (hyper is None or settings == hyper)
    assert parse(spec(found, settings)) == [(found, settings)]
    assert parse(found)[0][0] == found


def test_grids_of_the_parts_are_combined() -> None:
    found = parse("sgd[lr=0.1,0.2]{ndim=2} + adam[lr=1,2,3]")
    assert len(found) == 6 and {name for name, _ in found} == {"sgd{ndim=2} + adam"}
    assert found[1][1] == {"1.lr": 0.1, "2.lr": 2}


def test_parts_are_tuned_together() -> None:
    space = CATALOG.space("torch.optim:Muon{ndim=2} + adam")
    assert set(space) == {"1.lr", "1.schedule", "2.lr", "2.schedule"}


def test_a_setting_without_a_number_is_the_first_of_a_built_in_combination() -> None:
    built = CATALOG.optimizer("muon", {"lr": 0.5, "2.lr": 0.25})
    assert [part.settings["lr"] for part in built.optimizer.parts] == [0.5, 0.25]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("adam(sgd)", "wraps no other optimizer, write adam + SGD"),
        ("adam{size=2}", "the keys are name, ndim, layer, place: write {ndim=2}"),
        ("adam{ndim=two}", "write {ndim=2}"),
        ("adam{ndim=+}", "write {ndim=2}, or {ndim=2+}"),
        ("sgd[kernels=flat] + adam", "kernels='flat' is none of tensors, matrices: write kernels=matrices"),
        ("adam{place=middle}", "first, hidden, last: write {place=hidden}"),
        ("adam{ndim=2} + sgd{ndim=2}", "left with nothing: write adam{ndim=2} + sgd"),
        ("adam()", "wraps nothing, write adam(adamw[lr=0.001])"),
        ("sgd(sgd(sgd(sgd(sgd(adam)))))", "nests more than 3 wrappers: write WRAPPER(BASE)"),
        ("sgd(adam + adamw)", "wraps one base, write sgd(A) + B"),
        ("sgd(adam{ndim=2})", "a rule belongs to the wrapper, write WRAPPER(BASE){ndim=2}"),
        ("sgd + ", "a part without a name: write A"),
        ("muon + sgd", "is a combination itself, write its parts: torch.optim:Muon"),
        ("pso + sgd", "is no torch optimizer"),
        ("adam{ndim=2", "a '{' that does not pair: write NAME{ndim=2}"),
        ("adam(", "a '(' that does not pair: write WRAPPER(BASE)"),
        ("adam[lr=1", "a '[' that does not pair: write NAME[key=value]"),
        (" + adam", "a part without a name: write A"),
        ("adam{ndim=2}{place=last}", "two rules for one part: write conditions as one"),
        ("sgd + adamm", "unknown optimizer 'adamm', did you mean 'adam'"),
        ("sgd[rate=1] + adam", "did you mean 'lr'"),
        ("sgd[batch=8]{ndim=2} + adam[batch=16]", "share one minibatch"),
    ],
)
def test_a_refusal_shows_the_notation(text: str, shown: str) -> None:
    with pytest.raises(RequestError) as refused:
        for name, hyper in parse(text):
            CATALOG.optimizer(name, hyper)
    assert shown in str(refused.value) and "\n" not in str(refused.value)


def test_a_wrapper_without_a_base_is_shown_one(tmp_path: Path) -> None:
    file = tmp_path / "wraps.py"
    file.write_text(
        "import torch\n\n\nclass Wraps(torch.optim.SGD):\n"
        "    def __init__(self, params, base_optimizer):\n        super().__init__(params)\n"
    )
    with pytest.raises(RequestError, match=r"wraps another optimizer, write .*Wraps\(adamw\[lr=0.001\]\)"):
        CATALOG.optimizer(f"{file}:Wraps", {})
    assert CATALOG.optimizer(f"{file}:Wraps(sgd)", {"2.lr": 0.5}).lanes


def test_a_built_in_whose_package_is_absent_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    for name in ("sam", "lion"):
        with pytest.raises(RequestError, match="needs the package pytorch_optimizer: python -m pip install"):
            Catalog().optimizer(name, {})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sgd + adam", "earlier parts take all, write SGD{ndim=2} + Adam"),
        ("sgd{ndim=2}", "no part takes 0.bias (Linear, ndim=1): add one without a rule, ' + adamw'"),
        ("sgd{layer=Conv2d} + adam", "the network's layers are Linear, write SGD{layer=Linear}"),
    ],
)
def test_groups_that_fit_no_problem_are_refused_and_elsewhere_cost_themselves_alone(text: str, shown: str) -> None:
    with pytest.raises(RequestError) as refused:
        plan(Suite("groups", ("mlp_iris", "mlp_wine"), (text, "adam"), seeds=1), CATALOG)
    assert shown in str(refused.value) and "\n" not in str(refused.value)
    if "Conv2d" in text:  # a network with convolutions takes it
        assert plan(Suite("groups", ("mlp_iris", "cnn_digits"), (text, "adam"), seeds=1), CATALOG).tasks
