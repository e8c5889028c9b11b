"""Several optimizers on different parameters of one network, and wrappers around a base, as one optimizer.

A part trains some of the network's parameters. A wrapper gets its base as a class or as an instance. What else a
signature requires is given where the objective knows it: the network, the number of samples, the number of steps.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from optbench.core.objective import Inapplicable, Objective
from optbench.optimizers.gradient.demands import demand
from optbench.optimizers.gradient.fused import train_fused
from optbench.optimizers.gradient.kernels import as_matrix
from optbench.optimizers.gradient.probes import Traits, is_fused, kind_of, traits
from optbench.optimizers.gradient.rules import NO_RULE, Described, Rule, described, missing
from optbench.optimizers.gradient.schedules import Schedule
from optbench.optimizers.gradient.shaping import PLAIN, Shaping
from optbench.optimizers.gradient.side_by_side import train_side_by_side
from optbench.optimizers.gradient.steps import Steps
from optbench.optimizers.gradient.torch_optim import train

DECAYED = ("all", "matrices")
CONSTANT = Schedule()
# What a signature may ask for beside the network, by a word in the argument's name: as a small bowl has it.
_SMALL = {"sample": 100, "data": 100, "step": 100, "iters": 100, "iterations": 100, "epoch": 1}
FLAG = "use_muon"  # in a param group: how Muon's own code and its descendants tell matrices from the rest
_MATRIX = 2  # dimensions from which weight decay of "matrices" applies: not to biases and norms


@dataclass(frozen=True)
class Part:
    """One class with its settings, the base that it wraps, and the parameters that it takes."""

    cls: Any
    settings: Mapping[str, Any] = field(default_factory=dict)
    base: Part | None = None
    rule: Rule = NO_RULE
    schedule: Schedule = CONSTANT
    decay_on: str = "all"  # or "matrices": no weight decay on parameters of fewer than two dimensions
    kernels: str = "tensors"  # or "matrices": it gets parameters of more than two dimensions flattened to two

    @property
    def followed(self) -> Schedule:
        """The part's own schedule, or that of its base: a wrapper usually has the param groups of its base."""
        return self.schedule if self.schedule.moves or self.base is None else self.base.followed

    @property
    def key(self) -> Hashable:
        """The classes and what they are built with, but for numbers."""
        return self.cls, kind_of(self.settings), self.base and self.base.key

    @property
    def traits(self) -> Traits:
        """What the class, around its base, needs, found out by trying."""
        return traits(self.key, lambda parameters: self.on(parameters, _SMALL))

    @property
    def classes(self) -> list[Any]:
        """Its class and those of its bases."""
        return [self.cls, *(self.base.classes if self.base else [])]

    @property
    def wants_network(self) -> bool:
        """Whether it or its base asks for the network itself, which only a single lane trains."""
        return any("model" in name for name in required(self.cls)) or bool(self.base and self.base.wants_network)

    def on(self, parameters: Sequence[Any], known: Mapping[str, Any]) -> Any:
        """The optimizer of these parameters or param groups. known: what a signature may ask for, by a word in it.

        A class that refuses plain parameters is offered groups that say which of them are matrices, see `FLAG`.
        """
        try:
            return self._on(self._groups(parameters), known)
        except Exception as error:
            if any(isinstance(p, dict) for p in parameters):
                raise
            try:
                return self._on(_flagged(self._seen(parameters)), known)
            except Exception:
                raise error from None

    def _on(self, groups: list[Any], known: Mapping[str, Any]) -> Any:
        given = {**_asked(self, known), **self.settings}
        names = list(inspect.signature(self.cls.__init__).parameters)
        wanted = base_argument(self.cls)
        if "params" in names:
            given["params"] = groups
        if wanted is None or self.base is None:
            return self.cls(**given)
        base = self.base
        if "params" not in names:
            return self.cls(**{**given, wanted: base.on(groups, known)})
        try:
            return self.cls(**{**given, wanted: base.as_class(known)})
        except (TypeError, AttributeError):  # it wants an instance
            return self.cls(**{**given, wanted: base.on(groups, known)})

    def as_class(self, known: Mapping[str, Any]) -> Callable[..., Any]:
        """What a wrapper calls with parameters to get its base: a class of its own kind, or a function."""
        if self.base is not None:
            return lambda parameters, **more: self.on(list(parameters), known)
        given = {**_asked(self, known), **self.settings}
        cls: Any = self.cls
        group = self._groups

        def begin(self: Any, params: Any, **more: Any) -> None:
            cls.__init__(self, group(list(params)), **{**given, **more})

        return type(cls.__name__, (cls,), {"__init__": begin})

    def _groups(self, parameters: Sequence[Any]) -> list[Any]:
        """Two param groups where biases and norms are not decayed; else the parameters as the part sees them."""
        parameters = self._seen(parameters)
        if self.decay_on == "all" or any(isinstance(p, dict) for p in parameters):
            return parameters
        return _divided(parameters, {}, {"weight_decay": 0.0})

    def _seen(self, parameters: Sequence[Any]) -> list[Any]:
        """The parameters with kernels as matrices, where the part wants them so; param groups as they are."""
        if self.kernels == "tensors" or any(isinstance(p, dict) for p in parameters):
            return list(parameters)
        return [as_matrix(p) for p in parameters]


@dataclass(frozen=True)
class Combination:
    """Adapter of one or more parts.

    A part with a rule takes what the rule says. A part without one takes what it can train, the last all that is left.
    """

    parts: tuple[Part, ...]
    shaping: Shaping = PLAIN  # of the whole gradient and of points

    needs: ClassVar[str] = "grad"
    full_batch: ClassVar[bool] = False

    @property
    def checked_on(self) -> tuple[str, ...]:
        """Problems on which `check` runs it: groups by layer, and who asks for the network, need one with layers."""
        ruled = len(self.parts) > 1 or any(part.rule or part.wants_network for part in self.parts)
        return ("mlp_iris",) if ruled else ("sphere", "mlp_iris")

    @property
    def lanes(self) -> bool:
        """Whether several trials train at once as each does alone.

        A part that asks for the network trains one lane: the others' parameters are in no network.
        """
        return not any(part.wants_network for part in self.parts) and all(part.traits.lanes for part in self.parts)

    @property
    def graph(self) -> bool:
        """Whether a part needs gradients that can be differentiated."""
        return any(part.traits.graph for part in self.parts)

    @property
    def demand(self) -> str | None:
        """What it asks of its problem beside losses and gradients, as a phrase."""
        classes = [cls for part in self.parts for cls in part.classes]
        return demand(classes, self.shaping, self.graph, any(part.wants_network for part in self.parts))

    def minimise(self, f: Objective) -> None:
        self.together([self] * f.lanes).minimise(f)

    @staticmethod
    def together(lanes: Sequence[Combination]) -> Combinations:
        """The optimizer of a lane group whose lanes have settings of their own."""
        return Combinations(lanes)

    def ungrouped_reason(self, network: nn.Module) -> str | None:
        """Why its parts cannot share out the parameters of this network; None where they can."""
        try:
            assigned(self.parts, list(network.parameters()), described(network))
        except Inapplicable as reason:
            return str(reason)
        return None

    def build(self, f: Objective, parameters: list[nn.Parameter]) -> tuple[Any, list[Schedule]]:
        """The optimizer of these parameters, with the schedules of its param groups. Raises Inapplicable."""
        steps = dict.fromkeys(("step", "iters", "iterations"), f.planned_steps)
        known = {"model": f.network, "module": f.network, "net": f.network, **steps, "epoch": 1}
        known |= {"sample": f.samples, "data": f.samples}
        built, schedules = [], []
        if len(self.parts) > 1 and (fused := [part.cls.__name__ for part in self.parts if is_fused(part.cls)]):
            raise Inapplicable(f"{fused[0]} updates the whole network in its backward pass, no other part has a share")
        for part, taken in zip(self.parts, assigned(self.parts, parameters, described(f.network)), strict=True):
            try:
                built.append(part.on(taken, known))
            except Exception as error:
                text = " ".join(str(error).split())
                raise Inapplicable(f"{part.cls.__name__} cannot be built for this problem: {text}") from None
            schedules += [part.followed] * len(built[-1].param_groups)
        return (built[0] if len(built) == 1 else Several(built)), schedules


@dataclass(frozen=True)
class Combinations:
    """Trials of one combination as lanes of one program, each with settings of its own."""

    lanes: Sequence[Combination]

    def minimise(self, f: Objective) -> None:
        first, shapings = self.lanes[0], [lane.shaping for lane in self.lanes]
        if f.lanes == 1 and is_fused(first.parts[0].cls):
            train_fused(f, *first.build(f, f.parameters()), shaping=first.shaping)
        elif f.lanes == 1:
            train(f, *first.build(f, f.parameters()), shaping=first.shaping, graph=first.graph)
        else:
            train_side_by_side(f, [partial(lane.build, f) for lane in self.lanes], shapings)


class Several:
    """Optimizers of different parameters as one: one evaluation, then a step of each with its gradients."""

    def __init__(self, optimizers: Sequence[Any]) -> None:
        self.param_groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        self._steps = [Steps(optimizer, _no_closure) for optimizer in optimizers]
        self._modes = [one for one in optimizers if callable(getattr(one, "train", None))]
        if self._modes:
            self.train, self.eval = self._train, self._eval

    def step(self, closure: Callable[[], Tensor]) -> Tensor:
        """One step of all; a part that evaluates again does so with the others' parameters moved already."""
        loss = closure()
        for steps in self._steps:
            steps.closure = closure
            steps.follow(loss)
        return loss

    def _train(self) -> None:
        for optimizer in self._modes:
            optimizer.train()

    def _eval(self) -> None:
        for optimizer in self._modes:
            optimizer.eval()


def required(cls: Any) -> list[str]:
    """The arguments of the class without a default, beside the parameters."""
    return [
        name
        for name, parameter in list(inspect.signature(cls.__init__).parameters.items())[1:]
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        and name != "params"
    ]


def base_argument(cls: Any) -> str | None:
    """The argument through which the class asks for another optimizer, by its name; None where it asks for none."""
    return next((name for name in required(cls) if "optim" in name), None)


def assigned(parts: Sequence[Part], parameters: list[nn.Parameter], about: list[Described]) -> list[list[nn.Parameter]]:
    """The parameters of each part. Raises Inapplicable for a part that gets none and a parameter that none takes."""
    left = list(range(len(parameters)))
    out = []
    for number, part in enumerate(parts, 1):
        can = [k for k in left if part.rule.takes(about[k])]
        if not part.rule and number < len(parts):
            can = [k for k in can if _trains(part, parameters[k])]
        if not can:
            text = f"part {number}, {part.cls.__name__}{part.rule}, is left with no parameter"
            raise Inapplicable(f"{text}: {_instead(parts, number, about)}")
        left = [k for k in left if k not in can]
        out.append([parameters[k] for k in can])
    if left:
        raise Inapplicable(missing([about[k] for k in left]))
    return out


def _instead(parts: Sequence[Part], number: int, about: Sequence[Described]) -> str:
    """What to write where this part, counted from 1, gets no parameter."""
    part, before = parts[number - 1], parts[: number - 1]
    if part.rule and not any(part.rule.takes(one) for one in about):
        layers = sorted({one.layer for one in about})
        return f"the network's layers are {', '.join(layers)}, write {part.cls.__name__}{{layer={layers[0]}}}"
    first = before[0].cls.__name__ if before else part.cls.__name__
    return f"earlier parts take all, write {first}{{ndim=2}} + {part.cls.__name__}"


def _trains(part: Part, like: nn.Parameter) -> bool:
    """Whether the part is built for, and takes a step with, a parameter of this shape."""
    p = nn.Parameter(torch.ones_like(like))

    def closure() -> Tensor:
        p.grad = torch.linspace(0.1, 1.0, p.numel(), dtype=p.dtype, device=p.device).view_as(p)
        return p.grad.sum()

    try:
        Steps(part.on([p], {}), closure).take()
    except Exception:
        return False
    return True


def _divided(parameters: Sequence[Any], matrices: dict[str, Any], rest: dict[str, Any]) -> list[Any]:
    """A param group of the matrices with these settings, and one of biases and norms; none that is empty."""
    groups = [
        {"params": [p for p in parameters if p.ndim >= _MATRIX], **matrices},
        {"params": [p for p in parameters if p.ndim < _MATRIX], **rest},
    ]
    return [group for group in groups if group["params"]]


def _flagged(parameters: Sequence[Any]) -> list[Any]:
    return _divided(parameters, {FLAG: True}, {FLAG: False})


def _asked(part: Part, known: Mapping[str, Any]) -> dict[str, Any]:
    """What the signature requires and the objective knows, by a word in the argument's name."""
    open_names = [name for name in required(part.cls) if name not in part.settings]
    return {name: value for name in open_names for word, value in reversed(list(known.items())) if word in name}


def _no_closure() -> Tensor:
    raise RuntimeError("no step has begun")
