"""The problems, one flat file each, and the one table that names them; importing it imports neither torch nor them."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One line of the table: where a problem's class is, the settings that make this problem of it, what it is."""

    path: str
    settings: dict[str, int | float | str]
    track: str
    summary: str


def _at(path: str, track: str, summary: str, **settings: int | float | str) -> Entry:
    return Entry(f"optbench.problems.{path}", settings, track, summary)


PROBLEMS: dict[str, Entry] = {
    "sphere": _at("functions:Sphere", "function", "the sphere in 10 dimensions"),
    "ellipsoid": _at("functions:Ellipsoid", "function", "an ellipsoid of condition 1e6 in 10 dimensions"),
    "rosenbrock": _at("functions:Rosenbrock", "function", "Rosenbrock's curved valley in 10 dimensions"),
    "rastrigin": _at("functions:Rastrigin", "function", "Rastrigin's grid of local minima in 10 dimensions"),
    "ackley": _at("functions:Ackley", "function", "Ackley's rippled funnel in 10 dimensions"),
    "griewank": _at("functions:Griewank", "function", "Griewank's coupled ripples in 10 dimensions"),
    "sphere_2d": _at("functions:Sphere", "function", "the sphere in 2 dimensions", dim=2),
    "ellipsoid_2d": _at("functions:Ellipsoid", "function", "an ellipsoid of condition 1e6 in 2 dimensions", dim=2),
    "rosenbrock_2d": _at("functions:Rosenbrock", "function", "Rosenbrock's curved valley in 2 dimensions", dim=2),
    "rastrigin_2d": _at("functions:Rastrigin", "function", "Rastrigin's grid of local minima in 2 dimensions", dim=2),
    "ackley_2d": _at("functions:Ackley", "function", "Ackley's rippled funnel in 2 dimensions", dim=2),
    "griewank_2d": _at("functions:Griewank", "function", "Griewank's coupled ripples in 2 dimensions", dim=2),
    "line_mse": _at("line:Line", "supervised", "line fit on diabetes, MSE, optimum in closed form"),
    "line_l1": _at("line:LineL1", "supervised", "line fit on diabetes, L1, optimum by linear program"),
    "logistic_cancer": _at(
        "logistic_cancer:LogisticCancer", "supervised", "ridge logistic regression on breast cancer, certified optimum"
    ),
    "mlp_digits": _at("mlp_digits:MlpDigits", "supervised", "64-32-10 network on digits, cross-entropy"),
    "cnn_digits": _at("cnn_digits:CnnDigits", "supervised", "convolution, pooling and dropout on digits"),
}
