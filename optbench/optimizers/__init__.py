"""The built-in optimizers: one explicit table of import paths, settings and search spaces. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

# A search space: {hyper: (low, high, "log" | "linear")} or {hyper: (choice, choice, ...)}; declared once an optimizer.
# Learning rates over the four decades of Schmidt, Schneider & Hennig (2021). Two whole numbers make a whole number.
Space = Mapping[str, tuple[Any, ...]]
_NONE: Mapping[str, Any] = MappingProxyType({})
_LR: Space = MappingProxyType({"lr": (1e-4, 1.0, "log"), "schedule": ("constant", "cosine")})
_LR_MOMENTUM: Space = MappingProxyType({**_LR, "momentum": (0.5, 0.99, "linear")})
_LR_DECAY: Space = MappingProxyType({**_LR, "weight_decay": (1e-4, 0.1, "log")})
_SIGMA: Space = MappingProxyType({"sigma": (0.05, 2.0, "log")})
_SPREAD: Space = MappingProxyType({"spread": (0.05, 2.0, "log"), "population": (10, 80, "log")})
_MODERN = "pytorch_optimizer"
_CMA = "optbench.optimizers.evolution.cma_es:CMAES"
_EVOTORCH = "optbench.optimizers.evolution.evotorch_search"


class Entry(NamedTuple):
    """Where an optimizer lives and what is known of it without importing it."""

    path: str  # "module:Class"
    family: str
    summary: str
    settings: Mapping[str, Any] = _NONE
    space: Space = _NONE
    extra: str | None = None  # the package that it wraps, where that is optional


# Packages whose optimizers are neither classes with `minimise` nor torch's: the module that runs one by its name,
# "nevergrad:NGOpt". It has named(name) -> class and names().
ADAPTERS: Mapping[str, str] = MappingProxyType({"nevergrad": "optbench.optimizers.nevergrad_search"})

OPTIMIZERS: dict[str, Entry] = {
    "sgd": Entry("torch.optim:SGD", "gradient", "stochastic gradient descent", {"lr": 0.1}, _LR),
    "momentum": Entry(
        "torch.optim:SGD", "gradient", "SGD with momentum (Polyak 1964)", {"lr": 0.02, "momentum": 0.9}, _LR_MOMENTUM
    ),
    "adam": Entry("torch.optim:Adam", "gradient", "Adam (Kingma & Ba 2015)", {"lr": 0.01}, _LR),
    "adamw": Entry(
        "torch.optim:AdamW",
        "gradient",
        "Adam, weight decay decoupled (Loshchilov & Hutter 2019)",
        {"lr": 0.01},
        _LR_DECAY,
    ),
    "rmsprop": Entry("torch.optim:RMSprop", "gradient", "RMSprop (Tieleman & Hinton 2012)", {"lr": 0.003}, _LR),
    "adagrad": Entry("torch.optim:Adagrad", "gradient", "Adagrad (Duchi et al. 2011)", {"lr": 0.05}, _LR),
    "nadam": Entry("torch.optim:NAdam", "gradient", "Adam with Nesterov momentum (Dozat 2016)", {"lr": 0.01}, _LR),
    "radam": Entry("torch.optim:RAdam", "gradient", "rectified Adam (Liu et al. 2020)", {"lr": 0.01}, _LR),
    "adafactor": Entry(
        "torch.optim:Adafactor", "gradient", "Adafactor, factored moments (Shazeer & Stern 2018)", {"lr": 0.05}, _LR
    ),
    "rprop": Entry(
        "torch.optim:Rprop",
        "gradient",
        "resilient backpropagation, full batch (Riedmiller & Braun 1993)",
        {"lr": 0.01, "batch": "full"},
        {"lr": (1e-4, 1.0, "log")},
    ),
    "muon": Entry(
        "torch.optim:Muon{ndim=2+,place=!last} + torch.optim:AdamW",
        "gradient",
        "Muon on matrices and kernels before the last layer, AdamW on the rest (Jordan et al. 2024)",
        {"1.lr": 0.02, "1.kernels": "matrices", "2.lr": 0.01},
        {"1.lr": (1e-4, 1.0, "log"), "2.lr": (1e-4, 1.0, "log")},
    ),
    "lion": Entry(
        f"{_MODERN}:Lion", "gradient", "Lion, sign of momentum (Chen et al. 2023)", {"lr": 0.001}, _LR, _MODERN
    ),
    "prodigy": Entry(
        f"{_MODERN}:Prodigy",
        "gradient",
        "Prodigy, learning rate estimated (Mishchenko & Defazio 2024)",
        {"lr": 1.0},
        {"d_coef": (0.1, 10.0, "log"), "schedule": ("constant", "cosine")},
        _MODERN,
    ),
    "schedule_free_adamw": Entry(
        f"{_MODERN}:ScheduleFreeAdamW",
        "gradient",
        "schedule-free AdamW (Defazio et al. 2024)",
        {"lr": 0.01},
        {"lr": (1e-4, 1.0, "log")},
        _MODERN,
    ),
    "shampoo": Entry(
        f"{_MODERN}:Shampoo",
        "gradient",
        "Shampoo, Kronecker preconditioning (Gupta et al. 2018)",
        {"lr": 0.1},
        _LR,
        _MODERN,
    ),
    "lamb": Entry(
        f"{_MODERN}:Lamb", "gradient", "LAMB, layer-wise rates (You et al. 2020)", {"lr": 0.01}, _LR, _MODERN
    ),
    "adan": Entry(
        f"{_MODERN}:Adan",
        "gradient",
        "Adan, Nesterov momentum of differences (Xie et al. 2024)",
        {"lr": 0.01},
        _LR,
        _MODERN,
    ),
    "mars": Entry(
        f"{_MODERN}:MARS", "gradient", "MARS, variance-reduced AdamW (Yuan et al. 2025)", {"lr": 0.01}, _LR, _MODERN
    ),
    "soap": Entry(
        f"{_MODERN}:SOAP",
        "gradient",
        "SOAP, Adam in Shampoo's eigenbasis (Vyas et al. 2025)",
        {"lr": 0.01},
        _LR,
        _MODERN,
    ),
    "adahessian": Entry(
        f"{_MODERN}:AdaHessian",
        "gradient",
        "AdaHessian, a Hessian-vector product a step (Yao et al. 2021)",
        {"lr": 0.1},
        _LR,
        _MODERN,
    ),
    "sophia": Entry(
        f"{_MODERN}:SophiaH",
        "gradient",
        "Sophia, clipped by the Hessian's diagonal, one product in ten steps (Liu et al. 2024)",
        {"lr": 0.1, "p": 0.1},
        {"lr": (1e-3, 10.0, "log"), "p": (0.01, 1.0, "log"), "schedule": ("constant", "cosine")},
        _MODERN,
    ),
    "kfac": Entry(
        "optbench.optimizers.gradient.kfac:KFAC",
        "gradient",
        "K-FAC without inverses (Martens & Grosse 2015, Lin et al. 2024)",
        {"lr": 0.01, "damping": 0.1},
        {**_LR, "damping": (1e-4, 1.0, "log")},
        "singd",
    ),
    "sam": Entry(
        f"{_MODERN}:SAM(torch.optim:AdamW)",
        "gradient",
        "sharpness-aware minimisation around AdamW, two gradients a step (Foret et al. 2021)",
        {"1.rho": 0.05, "2.lr": 0.01},
        {"1.rho": (0.005, 0.5, "log"), "2.lr": (1e-4, 1.0, "log")},
        _MODERN,
    ),
    "lookahead": Entry(
        f"{_MODERN}:Lookahead(torch.optim:AdamW)",
        "gradient",
        "Lookahead around AdamW (Zhang et al. 2019)",
        {"1.k": 5, "1.alpha": 0.5, "2.lr": 0.01},
        {"1.k": (5, 10), "1.alpha": (0.2, 0.8, "linear"), "2.lr": (1e-4, 1.0, "log")},
        _MODERN,
    ),
    "lbfgs": Entry(
        "torch.optim:LBFGS",
        "quasi-Newton",
        "limited-memory BFGS with a strong Wolfe line search, full batch",
        {"lr": 1.0, "line_search_fn": "strong_wolfe", "batch": "full"},
        {"lr": (0.1, 1.0, "log"), "history_size": (5, 50, "log")},
    ),
    "scipy_lbfgsb": Entry(
        "optbench.optimizers.quasi_newton.scipy_lbfgsb:LBFGSB",
        "quasi-Newton",
        "scipy's L-BFGS-B (Byrd et al. 1995), full batch",
        space={"memory": (3, 30, "log")},
    ),
    "nelder_mead": Entry(
        "optbench.optimizers.direct.nelder_mead:NelderMead",
        "direct search",
        "scipy's Nelder-Mead simplex (1965), full batch",
    ),
    "pso": Entry(
        "optbench.optimizers.swarm.particle_swarm:ParticleSwarm",
        "swarm",
        "canonical particle swarm (Clerc & Kennedy 2002)",
        space={"swarm": (10, 80, "log"), "topology": ("star", "ring"), "phi": (4.02, 4.4, "linear")},
    ),
    "pyswarms": Entry(
        "optbench.optimizers.swarm.pyswarms_global:GlobalBest",
        "swarm",
        "pyswarms' GlobalBestPSO, repeatable by its seed",
        space={"swarm": (10, 80, "log"), "w": (0.4, 0.9, "linear")},
    ),
    "pyswarms_local": Entry(
        "optbench.optimizers.swarm.pyswarms_local:LocalBest",
        "swarm",
        "pyswarms' LocalBestPSO, repeatable by its seed",
        space={"swarm": (10, 80, "log"), "w": (0.4, 0.9, "linear"), "k": (2, 8, "linear")},
    ),
    "aco_r": Entry(
        "optbench.optimizers.colony.aco_r:ACOR",
        "colony",
        "ant colony for continuous domains (Socha & Dorigo 2008)",
        space={"q": (1e-4, 0.5, "log"), "xi": (0.5, 1.0, "linear")},
    ),
    "spso2011": Entry(
        "optbench.optimizers.swarm.spso2011:SPSO2011",
        "swarm",
        "standard particle swarm 2011 (Zambrano-Bigiarini 2013)",
        space={"swarm": (10, 80, "log"), "links": (2, 6, "linear")},
    ),
    "mmas": Entry(
        "optbench.optimizers.colony.mmas:MMAS",
        "colony",
        "max-min ant system on a weight grid (Stuetzle & Hoos 2000)",
        space={"ants": (5, 40, "log"), "rho": (0.01, 0.5, "log")},
    ),
    "openai_es": Entry(
        "optbench.optimizers.evolution.openai_es:OpenAIES",
        "evolution",
        "evolution strategy of Salimans et al. 2017",
        space={"lr": (1e-4, 1.0, "log"), "sigma": (0.005, 0.5, "log"), "pairs": (4, 32, "log")},
    ),
    "spsa": Entry(
        "optbench.optimizers.evolution.spsa:SPSA",
        "evolution",
        "simultaneous perturbation (Spall 1992)",
        space={"step": (1e-4, 0.1, "log"), "c": (1e-3, 0.1, "log")},
    ),
    "cma_es": Entry(
        _CMA,
        "evolution",
        "CMA-ES, restarted with twice the population (Auger & Hansen 2005)",
        space=_SIGMA,
        extra="cma",
    ),
    "sep_cma_es": Entry(
        _CMA,
        "evolution",
        "CMA-ES with variances alone, not rotation invariant (Ros & Hansen 2008)",
        {"diagonal": True},
        _SIGMA,
        "cma",
    ),
    "snes": Entry(
        f"{_EVOTORCH}:SNES", "evolution", "separable natural evolution (Wierstra 2014)", _NONE, _SPREAD, "evotorch"
    ),
    "xnes": Entry(
        f"{_EVOTORCH}:XNES", "evolution", "full natural evolution (Glasmachers 2010)", _NONE, _SPREAD, "evotorch"
    ),
    "pgpe": Entry(
        f"{_EVOTORCH}:PGPE",
        "evolution",
        "PGPE with ClipUp (Toklu et al. 2020)",
        space={**_SPREAD, "population": (10, 20, 40, 80), "max_speed": (0.03, 1.0, "log")},  # even: they come in pairs
        extra="evotorch",
    ),
    "cem": Entry(
        f"{_EVOTORCH}:CEM",
        "evolution",
        "cross-entropy method (Rubinstein 1999)",
        space={**_SPREAD, "elite": (0.1, 0.5, "linear")},
        extra="evotorch",
    ),
    "differential_evolution": Entry(
        "optbench.optimizers.evolution.differential_evolution:DifferentialEvolution",
        "evolution",
        "scipy's differential evolution (Storn & Price 1997)",
        space={"population": (10, 80, "log"), "recombination": (0.1, 0.99, "linear")},
    ),
    "powell": Entry(
        "optbench.optimizers.direct.powell:Powell",
        "direct search",
        "scipy's Powell line searches (1964), full batch",
    ),
    "dual_annealing": Entry(
        "optbench.optimizers.direct.dual_annealing:DualAnnealing",
        "direct search",
        "scipy's dual annealing (Xiang et al. 1997), full batch",
    ),
    "dp_grid": Entry(
        "optbench.optimizers.exact.dp_grid:DPGrid",
        "dynamic programming",
        "exact training of a small network over a weight grid",
    ),
    "dp_step": Entry(
        "optbench.optimizers.exact.dp_step:DPStep",
        "dynamic programming",
        "exact training of a step network on one input by optimal segmentation (Bellman 1961)",
    ),
    "ddp": Entry(
        "optbench.optimizers.exact.ddp:DDP",
        "dynamic programming",
        "differential dynamic programming, Gauss-Newton, full batch (Liu et al. 2021)",
        space={"damping": (1e-4, 1.0, "log")},
    ),
    "sgd_by_hand": Entry(
        "optbench.optimizers.exact.sgd_by_hand:SGDByHand",
        "dynamic programming",
        "backpropagation written out as a recursion over the value function's gradient",
        space={"lr": (1e-4, 1.0, "log")},
    ),
    "random_search": Entry(
        "optbench.optimizers.direct.random_search:RandomSearch",
        "random",
        "the floor: fresh draws of the initialisation",
        space={"scale": (0.3, 3.0, "log")},
    ),
}
