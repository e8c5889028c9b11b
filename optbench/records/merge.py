"""Results of several runs as one: their environments joined, their records in one new folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optbench.core.trial import RequestError
from optbench.records.files import ENVIRONMENT, SUITE, read_environment, read_records
from optbench.records.schema import RECORDS, Record, clean
from optbench.records.splits import other_splits, splits_of, with_splits
from optbench.records.store import Store


def merge(folders: Sequence[Path], out: Path, mixed: bool = False) -> int:
    """Join the records of several folders into a new one; returns the number of records.

    A trial that several folders hold is taken from the first. mixed: join folders of different versions, too.
    Raises RequestError for a folder without records, with broken lines or, unless `mixed`, of another version of
    optbench or torch, and for folders that have a seed on different splits of the data.
    """
    records: dict[str, Record] = {}
    environments = []
    splits: dict[tuple[str, int], int] = {}
    for folder in folders:
        found, rejected = read_records(folder)
        if not found:
            raise RequestError(f"{folder} holds no records")
        if rejected:
            raise RequestError(f"{folder / RECORDS} has {len(rejected)} lines that are no records; run it again first")
        for record in found:
            records.setdefault(record.key, record)
        environments.append(read_environment(folder))
        theirs = splits_of(map(vars, found))
        if odd := other_splits(splits, theirs):
            raise RequestError(f"{folder} and a folder before it have {odd}: losses on other data are not joined")
        splits |= theirs
    builds = [(one.get("optbench"), one.get("versions", {}).get("torch")) for one in environments]
    if len(set(builds)) > 1 and not mixed:
        text = ", ".join(f"{folder}: optbench {a}, torch {b}" for folder, (a, b) in zip(folders, builds, strict=True))
        raise RequestError(f"the folders were made by different versions ({text}); --mixed joins them all the same")
    machines = [entry for one in environments for entry in one.get("machines") or [one.get("machine")] if entry]
    joined = join_environments(environments) | {"machines": machines}
    with Store(out) as store:
        if store.records:
            raise RequestError(f"{out} already holds records; merge into a new folder")
        store.write(ENVIRONMENT, json.dumps(joined, indent=1) + "\n")
        suites = [
            (folder / SUITE).read_text(encoding="utf-8", errors="replace")
            for folder in folders
            if (folder / SUITE).is_file()
        ]
        if suites:
            store.write(SUITE, suites[0])
        for record in records.values():
            store.append(record)
    return len(records)


def join_environments(environments: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The first environment, with the plans, problems, optimizers and tuning of all; where two differ the first counts.

    environments: what environment.json of each folder says, at least one.
    """
    joined = dict(environments[0])
    backwards = list(reversed(environments))
    joined["optimizers"] = {key: value for one in backwards for key, value in one.get("optimizers", {}).items()}
    joined["problems"] = {}
    for one in backwards:
        for key, fact in one.get("problems", {}).items():
            joined["problems"][key] = with_splits(fact, joined["problems"].get(key, {}))
    tuned = [one["tuning"] for one in backwards if one.get("tuning")]
    if tuned:
        joined["tuning"] = {
            **tuned[-1],
            "competitors": {k: v for one in tuned for k, v in one.get("competitors", {}).items()},
        }
    joined["plan"] = list({trial["key"]: trial for one in environments for trial in one.get("plan", [])}.values())
    made = [*dict.fromkeys(build for one in environments for build in builds(one))]
    if len(made) > 1:
        joined["builds"] = made
    return joined


def builds(environment: Mapping[str, Any]) -> list[str]:
    """What made the results of an environment, "optbench 0.2.0, torch 2.9.1"; several where it joins several."""
    stated = environment.get("builds")
    if isinstance(stated, list) and stated:
        return [*dict.fromkeys(clean(str(one))[:100] for one in stated)]
    versions = [environment.get("versions") or {}]
    versions += [one["versions"] for one in environment.get("machines") or [] if one and one.get("versions")]
    own = environment.get("optbench", "unknown")
    return [*dict.fromkeys(clean(f"optbench {own}, torch {one.get('torch', 'unknown')}")[:100] for one in versions)]
