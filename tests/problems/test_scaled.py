"""Networks whose size is a setting: from 1e5 to 1e7 parameters, and they train, mixed precision included."""

from __future__ import annotations

import pytest
import torch

from optbench.core.problem import dimension
from optbench.core.trial import Trial
from optbench.execution.lane_group import run_group
from optbench.problems import mnist1d
from optbench.problems.precision import Mixed
from optbench.registry.catalog import Catalog

SIZES = {
    "resnet[depth=10,widening=1]": 8e4,
    "resnet[depth=16,widening=8]": 1.1e7,
    "mlp_mixer": 1.7e5,
    "mlp_mixer[width=320,depth=12]": 1e7,
    "transformer_shakespeare[width=64]": 1.1e5,
    "transformer_shakespeare[width=320,layers=8,heads=8,context=128]": 1e7,
}


@pytest.mark.parametrize(("name", "size"), SIZES.items())
def test_sizes(name: str, size: float) -> None:
    assert dimension(Catalog().problem(name)) == pytest.approx(size, rel=0.05)


@pytest.mark.parametrize(
    "name",
    [
        "resnet[precision=mixed]",
        "mlp_mixer[width=16,depth=2,precision=mixed]",
        "transformer_shakespeare[width=16,context=16,precision=mixed]",
    ],
)
def test_mixed_precision_computes_nearly_the_same(name: str) -> None:
    problem, single = Catalog().problem(name), Catalog().problem(name.replace("mixed", "single"))
    torch.manual_seed(0)
    net = problem.network().eval()
    assert isinstance(net, Mixed)
    x = problem.data().train[0][:4]
    mixed, plain = net(x), net.body(x)
    assert mixed.dtype == torch.float32 and not torch.equal(mixed, plain)
    assert torch.allclose(mixed, plain, atol=0.1)
    assert dimension(problem) == dimension(single)


@pytest.mark.parametrize(
    "name", ["mlp_mixer[width=16,depth=1,patch=7]", "mlp_mixer[width=16,depth=1,patch=7,precision=mixed]"]
)
def test_a_mixer_trains(name: str) -> None:
    (record,) = run_group([Trial(name, "adam", (("lr", 0.003),), 0, 1.5)], Catalog())
    assert record.status == "spent" and record.curve[-1]["loss"] < record.curve[0]["loss"] - 0.1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet[depth=11]", "depth 11 must be 10, 16, 22"),
        ("resnet[data_set=imagenet]", "'imagenet' is not one of"),
        ("mlp_mixer[patch=5]", "patch 5 must divide 28"),
        ("mlp_mixer[precision=half]", "'half' is not one of single, mixed"),
        ("transformer_shakespeare[context=1]", "context 1 must be from 2"),
    ],
)
def test_settings_that_make_no_network_are_refused(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Catalog().problem(name)


def test_mnist1d_is_the_authors_data() -> None:
    """Numbers of the package mnist1d 0.0.2.post1, `make_dataset()`."""
    x, y = mnist1d.generate()
    assert x[0, :4].tolist() == pytest.approx([-0.33200567, -0.47191037, -0.77869708, -1.00974083], abs=1e-6)
    assert x[-1, -4:].tolist() == pytest.approx([0.44723289, 0.65987565, 0.87773435, 1.19315184], abs=1e-6)
    assert y[:10].tolist() == [2, 6, 4, 5, 6, 6, 6, 0, 3, 1]
