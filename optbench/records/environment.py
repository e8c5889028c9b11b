"""What environment.json must be where the report relies on it. Standard library only."""

from __future__ import annotations

from typing import Any


def wrong_part(found: Any) -> str:
    """What of an environment is not as a run writes it, in a few words; empty where nothing is."""
    if not isinstance(found, dict):
        return "is not a JSON object"
    for name in ("machine", "versions", "problems", "optimizers", "tuning", "ceiling_flops_per_second"):
        if not isinstance(found.get(name, {}), dict):
            return f"{name} is not an object"
    for name in ("problems", "optimizers"):
        if not all(isinstance(value, dict) for value in found.get(name, {}).values()):
            return f"an entry of {name} is not an object"
    machines = found.get("machines", [])
    if not isinstance(machines, list) or not all(one is None or isinstance(one, dict) for one in machines):
        return "machines is not a list of objects"
    if any(_no_object(one, name) for one in machines if one for name in ("machine", "versions")):
        return "an entry of a machine is not an object"
    if not all(isinstance(one.get("name", ""), str) for one in machines if one):
        return "the name of a machine is not text"
    if not all(map(_is_build, [found, *(one for one in machines if one)])):
        return "a version is not text"
    if not all(map(_is_number, found.get("ceiling_flops_per_second", {}).values())):
        return "a ceiling is not a number"
    budget = found.get("budget") or {}
    if not isinstance(budget, dict) or not _is_number(budget.get("amount")):
        return "the budget is not an object with a number"
    groups = found.get("groups") or {}
    if not isinstance(groups, dict) or not all(map(_is_texts, groups.values())):
        return "groups is not an object of lists of text"
    if not isinstance(found.get("cluster", {}), dict):
        return "cluster is not an object"
    return _wrong_plan(found.get("plan", [])) or _wrong_tuning(found.get("tuning", {})) or _wrong_problem(found)


def _no_object(one: dict[str, Any], name: str) -> bool:
    return not isinstance(one.get(name, {}), dict)


def _is_build(one: dict[str, Any]) -> bool:
    """Whether what it says of versions is text or nothing."""
    stated = [one.get("optbench"), *one.get("versions", {}).values()]
    return all(version is None or isinstance(version, str) for version in stated)


def _wrong_plan(plan: Any) -> str:
    if not isinstance(plan, list):
        return "plan is not a list"
    for trial in plan:
        if not isinstance(trial, dict):
            return "a planned trial is not an object"
        for name in ("key", "problem", "optimizer"):
            if not isinstance(trial.get(name), str):
                return f"{name} of a planned trial is not text"
        if type(trial.get("seed", 0)) is not int or not isinstance(trial.get("hyper") or {}, dict):
            return "seed or hyper of a planned trial is of another type"
        if type(trial.get("split", 0)) is not int:
            return "split of a planned trial is not a whole number"
    return ""


def _wrong_tuning(tuning: dict[str, Any]) -> str:
    competitors = tuning.get("competitors", {})
    if not isinstance(competitors, dict) or not all(isinstance(one, dict) for one in competitors.values()):
        return "tuning.competitors is not an object of objects"
    for one in competitors.values():
        labels, space = one.get("labels", []), one.get("space", {})
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            return "labels of a tuned optimizer are not a list of text"
        if not isinstance(space, dict) or not all(isinstance(values, list) for values in space.values()):
            return "the space of a tuned optimizer is not an object of lists"
    return ""


def _wrong_problem(found: dict[str, Any]) -> str:
    problems = found.get("problems", {})
    for name, problem in problems.items():
        of_splits = problem.get("splits", {})
        if not isinstance(of_splits, dict) or not all(isinstance(one, dict) for one in of_splits.values()):
            return f"splits of problem {name[:40]} is not an object of objects"
        if not all(split.isdecimal() and len(split) < 10 for split in of_splits):
            return f"a split of problem {name[:40]} is not a number"
    every = [(name, one) for name, stated in problems.items() for one in (stated, *stated.get("splits", {}).values())]
    for name, problem in every:
        for field in ("dim", "train", "flops_per_pass", "start", "passes"):
            if not _is_number(problem.get(field, 0)):
                return f"{field} of problem {name[:40]} is not a number"
        for field in ("best", "targets"):
            if not isinstance(problem.get(field, {}), dict):
                return f"{field} of problem {name[:40]} is not an object"
        values = [*problem.get("targets", {}).values(), problem.get("best", {}).get("value", 0)]
        if not all(map(_is_number, values)):
            return f"a target or the best loss of problem {name[:40]} is not a number"
    return ""


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_number(value: Any) -> bool:
    """Whether it is null or a float: not finite where nothing is known, never a whole number that no float holds."""
    return value is None or type(value) is float or (isinstance(value, int) and abs(value) < 2**63)
