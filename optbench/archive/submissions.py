"""Submissions of an archive: put one in, list all, show one."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from optbench.core.trial import RequestError
from optbench.records.files import SUITE
from optbench.records.manifest import (
    SELF_REPORTED,
    checked,
    checked_name,
    is_submission,
    plain,
    read_manifest,
    seal,
)
from optbench.records.merge import builds
from optbench.records.packing import complete, write_packed
from optbench.records.reference import BUILT_IN, reference
from optbench.records.schema import Record

MAX_LISTED = 200  # problems or optimizers that a manifest names; the records have all
SELF = "self-reported"  # how the note of a trial begins whose loop counted for itself
NEW = ".new"  # ends the name of a submission that is being written


class Entry(NamedTuple):
    """A folder of an archive: its manifest, or why it has none that holds."""

    folder: Path
    manifest: dict[str, Any] | None
    wrong: str = ""


def add(
    folder: Path, archive: Path, name: str, author: str = "", note: str = "", mixed: bool = False
) -> dict[str, Any]:
    """Pack a complete result folder as the submission `name` of an archive, and return its manifest.

    archive: a folder, made if need be. author, note: free text. mixed: take results of several versions too, marked.
    Raises RequestError for a name that is taken or no folder's name, for a folder that is not complete, that holds
    lines which are no records (one without a seed, for instance), or results of several versions.
    """
    checked_name(name)
    out = archive / name
    if out.exists() or out.is_symlink():
        raise RequestError(f"{archive} has a submission {name} already; choose another --name")
    if archive.exists() and not archive.is_dir():
        raise RequestError(f"{archive} is a file, an archive is a folder")
    records, facts = complete(folder)
    made = builds(facts)
    if len(made) > 1 and not mixed:
        raise RequestError(
            f"{folder} holds results of several versions ({'; '.join(made)}); --mixed takes it all the same, marked"
        )
    new = archive / f".{name}{NEW}"
    shutil.rmtree(new, ignore_errors=True)
    try:
        write_packed(records, facts, folder / SUITE, new)
        manifest = seal(new, described(name, records, facts, author, note))
        new.rename(out)
    except OSError as error:
        raise RequestError(f"cannot write to {archive}: {error.strerror}") from None
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return manifest


def described(
    name: str, records: Sequence[Record], facts: Mapping[str, Any], author: str = "", note: str = ""
) -> dict[str, Any]:
    """What the manifest says of packed results, apart from the hashes. Nothing is verified yet."""
    made = builds(facts)
    problems = [*dict.fromkeys(record.problem for record in records)]
    optimizers = [*dict.fromkeys(record.optimizer for record in records)]
    seeds = len({record.seed for record in records})
    own_word = sum((record.note or "").startswith(SELF) for record in records)
    marks = [f"results of several versions: {'; '.join(made)}"] if len(made) > 1 else []
    marks += ["one seed: nothing tells its luck"] if seeds == 1 else []
    marks += [f"{own_word} of {len(records)} trials were counted by their own loop"] if own_word else []
    versions, machine = facts.get("versions") or {}, facts.get("machine") or {}
    return {
        "name": name,
        "kind": SELF_REPORTED,
        "suite": plain(facts.get("suite") or ""),
        "trials": len(records),
        "seeds": seeds,
        "problems": [plain(text, 100) for text in problems[:MAX_LISTED]],
        "optimizers": [plain(text, 100) for text in optimizers[:MAX_LISTED]],
        "optbench": plain(facts.get("optbench") or "unknown"),
        "versions": {plain(key, 40): plain(value, 40) for key, value in versions.items()},
        "builds": made,
        "machine": {plain(key, 40): value for key, value in machine.items() if isinstance(value, str | int)},
        "command": plain(facts.get("command") or ""),
        "author": plain(author),
        "note": plain(note),
        "added": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "self_reported_trials": own_word,
        "marks": [plain(text) for text in marks],
        "verification": None,
    }


def entries(archive: Path) -> list[Entry]:
    """Every submission of an archive by name, those that do not hold with the reason. Raises RequestError."""
    if not archive.is_dir():
        raise RequestError(
            f"no archive {str(archive)!r}; `python -m optbench archive add DIR --to {archive}` makes one"
        )
    return [*_entries(archive)]


def _entries(archive: Path) -> Iterator[Entry]:
    for folder in sorted(archive.iterdir()):
        if folder.name.startswith(".") or not is_submission(folder):
            continue
        try:
            yield Entry(folder, opened(folder))
        except RequestError as error:
            yield Entry(folder, None, plain(error))


def opened(folder: Path) -> dict[str, Any]:
    """The manifest of a submission whose bytes and name hold. Raises RequestError."""
    checked_name(folder.name)
    found = checked(folder)
    if found["name"] != folder.name:
        raise RequestError(
            f"{folder} calls itself {plain(found['name'], 40)!r} in its manifest: it was renamed or copied"
        )
    return found


def find(text: str) -> Path:
    """The folder of a submission: a path ARCHIVE/NAME, or a built-in reference. Raises RequestError."""
    if text in BUILT_IN:
        return reference(text)
    folder = Path(text)
    if not is_submission(folder):
        read_manifest(folder)  # says what is wrong
    return folder


def standing(manifest: Mapping[str, Any]) -> str:
    """Whether it was verified, with the counts: "verified, 20 of 20 agree"."""
    found = manifest["verification"]
    if not found:
        return str(manifest["kind"])
    agree = found["same"] + found["close"]
    text = f"{manifest['kind']}, {agree} of {found['sampled']} agree"
    text += f", {found['differ']} differ" if found["differ"] else ""
    return text + (f", {found['not_compared']} not compared" if found["not_compared"] else "")


def line(entry: Entry) -> str:
    """A submission as one line of a list."""
    if entry.manifest is None:
        return f"{plain(entry.folder.name, 40)}  REFUSED  {entry.wrong}"
    found = entry.manifest
    text = f"{found['name']}  {standing(found)}  {found['trials']} trials, {len(found['problems'])} problems, "
    text += f"{len(found['optimizers'])} optimizers, {found['seeds']} seed{'s' * (found['seeds'] != 1)}"
    text += f"  {'; '.join(map(plain, found['builds'])) or found['optbench']}"
    text += f"  by {plain(found['author'], 60)}" if found["author"] else ""
    return text + (f"  MARKED: {plain('; '.join(found['marks']))}" if found["marks"] else "")


def shown(manifest: Mapping[str, Any]) -> list[str]:
    """A submission as lines of text."""
    machine = ", ".join(f"{key} {plain(value, 60)}" for key, value in manifest["machine"].items() if value)
    versions = ", ".join(f"{key} {plain(value, 40)}" for key, value in manifest["versions"].items())
    rows = {
        "name": manifest["name"],
        "standing": standing(manifest),
        "marks": "; ".join(manifest["marks"]),
        "author": manifest["author"],
        "note": manifest["note"],
        "suite": manifest["suite"],
        "command": manifest["command"],
        "added": manifest["added"],
        "trials": f"{manifest['trials']}, {manifest['seeds']} seeds",
        "problems": ", ".join(manifest["problems"]),
        "optimizers": ", ".join(manifest["optimizers"]),
        "optbench": manifest["optbench"],
        "versions": versions,
        "machine": machine,
    }
    lines = [f"{key + ':':<12}{plain(value, 2000)}" for key, value in rows.items() if value]
    lines += [f"{'file:':<12}{name}, {one['bytes']} bytes, sha256 {plain(one['sha256'], 64)}"
              for name, one in manifest["files"].items()]  # fmt: skip
    return lines
