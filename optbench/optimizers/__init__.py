"""The built-in optimizers: one explicit table of import paths, settings and search spaces. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

# A search space: {hyper: (low, high, "log" | "linear")} or {hyper: (choice, choice, ...)}; declared once an optimizer.
Space = Mapping[str, tuple[Any, ...]]
_NONE: Mapping[str, Any] = MappingProxyType({})
_LR: Space = MappingProxyType({"lr": (1e-4, 1.0, "log"), "schedule": ("constant", "cosine")})
_LR_MOMENTUM: Space = MappingProxyType({**_LR, "momentum": (0.5, 0.99, "linear")})
_CMA = "optbench.optimizers.cma_es:CMAES"
_EVOTORCH = "optbench.optimizers.evotorch_search"
_GLOBAL = "optbench.optimizers.scipy_global"


class Entry(NamedTuple):
    """Where an optimizer lives and what is known of it without importing it."""

    path: str  # "module:Class"
    family: str
    summary: str
    settings: Mapping[str, Any] = _NONE
    space: Space = _NONE
    extra: str | None = None  # the package that it wraps, where that is optional


OPTIMIZERS: dict[str, Entry] = {
    "sgd": Entry("torch.optim:SGD", "gradient", "stochastic gradient descent", {"lr": 0.1}, _LR),
    "momentum": Entry(
        "torch.optim:SGD", "gradient", "SGD with momentum (Polyak 1964)", {"lr": 0.02, "momentum": 0.9}, _LR_MOMENTUM
    ),
    "adam": Entry("torch.optim:Adam", "gradient", "Adam (Kingma & Ba 2015)", {"lr": 0.01}, _LR),
    "adamw": Entry(
        "torch.optim:AdamW", "gradient", "Adam, weight decay decoupled (Loshchilov & Hutter 2019)", {"lr": 0.01}, _LR
    ),
    "rmsprop": Entry("torch.optim:RMSprop", "gradient", "RMSprop (Tieleman & Hinton 2012)", {"lr": 0.003}, _LR),
    "lbfgs": Entry(
        "torch.optim:LBFGS",
        "quasi-Newton",
        "limited-memory BFGS with a strong Wolfe line search, full batch",
        {"lr": 1.0, "line_search_fn": "strong_wolfe", "batch": "full"},
    ),
    "scipy_lbfgsb": Entry(
        "optbench.optimizers.scipy_minimize:LBFGSB", "quasi-Newton", "scipy's L-BFGS-B (Byrd et al. 1995), full batch"
    ),
    "nelder_mead": Entry(
        "optbench.optimizers.scipy_minimize:NelderMead",
        "direct search",
        "scipy's Nelder-Mead simplex (1965), full batch",
    ),
    "pso": Entry(
        "optbench.optimizers.particle_swarm:ParticleSwarm",
        "swarm",
        "canonical particle swarm (Clerc & Kennedy 2002)",
        space={"swarm": (10, 40, "linear"), "topology": ("star", "ring")},
    ),
    "pyswarms": Entry(
        "optbench.optimizers.pyswarms_best:GlobalBest", "swarm", "pyswarms' GlobalBestPSO, its seed made to hold"
    ),
    "aco_r": Entry(
        "optbench.optimizers.aco_r:ACOR",
        "colony",
        "ant colony for continuous domains (Socha & Dorigo 2008)",
        space={"q": (1e-4, 0.5, "log"), "xi": (0.5, 1.0, "linear")},
    ),
    "spso2011": Entry(
        "optbench.optimizers.spso2011:SPSO2011", "swarm", "standard particle swarm 2011 (Zambrano-Bigiarini 2013)"
    ),
    "mmas": Entry(
        "optbench.optimizers.mmas:MMAS", "colony", "max-min ant system on a weight grid (Stuetzle & Hoos 2000)"
    ),
    "openai_es": Entry(
        "optbench.optimizers.openai_es:OpenAIES", "evolution", "evolution strategy of Salimans et al. 2017", space=_LR
    ),
    "spsa": Entry("optbench.optimizers.spsa:SPSA", "evolution", "simultaneous perturbation (Spall 1992)"),
    "cma_es": Entry(_CMA, "evolution", "CMA-ES (Hansen & Ostermeier 2001)", extra="cma"),
    "sep_cma_es": Entry(
        _CMA, "evolution", "CMA-ES with variances alone (Ros & Hansen 2008)", {"diagonal": True}, extra="cma"
    ),
    "snes": Entry(f"{_EVOTORCH}:SNES", "evolution", "separable natural evolution (Wierstra 2014)", extra="evotorch"),
    "xnes": Entry(f"{_EVOTORCH}:XNES", "evolution", "full natural evolution (Glasmachers 2010)", extra="evotorch"),
    "pgpe": Entry(f"{_EVOTORCH}:PGPE", "evolution", "PGPE with ClipUp (Toklu et al. 2020)", extra="evotorch"),
    "cem": Entry(f"{_EVOTORCH}:CEM", "evolution", "cross-entropy method (Rubinstein 1999)", extra="evotorch"),
    "differential_evolution": Entry(
        f"{_GLOBAL}:DifferentialEvolution", "evolution", "scipy's differential evolution (Storn & Price 1997)"
    ),
    "powell": Entry(f"{_GLOBAL}:Powell", "direct search", "scipy's Powell line searches (1964), full batch"),
    "dual_annealing": Entry(
        f"{_GLOBAL}:DualAnnealing", "direct search", "scipy's dual annealing (Xiang et al. 1997), full batch"
    ),
    "dp_grid": Entry(
        "optbench.optimizers.dp_grid:DPGrid",
        "dynamic programming",
        "exact training of a small network over a weight grid",
    ),
    "dp_step": Entry(
        "optbench.optimizers.dp_step:DPStep",
        "dynamic programming",
        "exact training of a step network on one input by optimal segmentation (Bellman 1961)",
    ),
    "ddp": Entry(
        "optbench.optimizers.ddp:DDP",
        "dynamic programming",
        "differential dynamic programming, Gauss-Newton, full batch (Liu et al. 2021)",
    ),
    "sgd_by_hand": Entry(
        "optbench.optimizers.sgd_by_hand:SGDByHand",
        "dynamic programming",
        "backpropagation written out as a recursion over the value function's gradient",
    ),
    "random_search": Entry(
        "optbench.optimizers.random_search:RandomSearch", "random", "the floor: fresh draws of the initialisation"
    ),
}
