"""Faults of files: full, read-only and removed folders, and records that were cut or written by others."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optbench.testing.faults.scene import Inject, Kind, Scene, mount, unmount
from optbench.testing.faults.verify import RECORDS, whole_lines

DISK_MIB = 48  # of the small disk; a run asks for 32 before it begins
MAX_LEFT = 512 * 2**10  # bytes that a full disk has left at most


def _small_disk(scene: Scene) -> None:
    scene.folder.mkdir()
    mount("-t", "tmpfs", "-o", f"size={DISK_MIB}m", "none", str(scene.folder))


def _fill(scene: Scene) -> bool:
    """Fill the disk but for a little; the ballast goes when the run has ended."""
    ballast = scene.folder / ".ballast"
    left = scene.rng.choice([0, scene.rng.randrange(64 * 2**10), scene.rng.randrange(MAX_LEFT)])
    size = max(0, shutil.disk_usage(scene.folder).free - left)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)
    scene.undo.callback(ballast.unlink)
    scene.detail += f", {left} bytes left"
    return scene.alive


def _read_only(scene: Scene) -> bool:
    """Make the folder read-only: by a mount over it for root, whom permissions do not stop, else by permissions."""
    if not scene.folder.is_dir() or not scene.alive:
        return False
    if os.geteuid() == 0:
        mount("--bind", str(scene.folder), str(scene.folder))
        scene.undo.callback(unmount, scene.folder)
        while scene.alive:  # refused while the run has a file open there that it writes
            with contextlib.suppress(subprocess.CalledProcessError):
                mount("-o", "remount,bind,ro", str(scene.folder))
                return True
        return False
    paths = [scene.folder, *scene.folder.rglob("*")]
    for path in paths:
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode & ~0o222)
        scene.undo.callback(path.chmod, mode)
    return True


def _remove(scene: Scene) -> bool:
    if not scene.folder.is_dir() or not scene.alive:
        return False
    shutil.rmtree(scene.folder, ignore_errors=True)
    return True


def _move(scene: Scene) -> bool:
    """Take the folder away and bring it back when the run has ended, in the place of one that was made meanwhile."""
    if not scene.folder.is_dir() or not scene.alive:
        return False
    aside = scene.logs / "aside"
    scene.folder.rename(aside)

    def back() -> None:
        shutil.rmtree(scene.folder, ignore_errors=True)
        aside.rename(scene.folder)

    scene.undo.callback(back)
    return True


def _finished(scene: Scene) -> list[bytes]:
    """Start from an undisturbed folder of which some of the first records are kept; its lines."""
    shutil.copytree(scene.reference, scene.folder)
    lines = whole_lines(scene.folder)
    return lines[: scene.rng.randrange(1, len(lines) + 1)]


def _truncate(scene: Scene) -> bool:
    """Cut one file at a random offset: the records, as a rule."""
    lines = _finished(scene)
    (scene.folder / RECORDS).write_bytes(b"".join(line + b"\n" for line in lines))
    name = scene.rng.choice([RECORDS, RECORDS, RECORDS, "environment.json", "suite.toml", "report.html"])
    path = scene.folder / name
    size = scene.rng.randrange(path.stat().st_size)
    os.truncate(path, size)
    scene.detail += f": {name} at byte {size}"
    return True


def _insert(scene: Scene, lines: list[bytes], line: bytes, least: int) -> None:
    """Put a line at a random place, not before place `least`."""
    lines.insert(scene.rng.randrange(least, len(lines) + 1), line)
    (scene.folder / RECORDS).write_bytes(b"".join(line + b"\n" for line in lines))


def _double(scene: Scene) -> bool:
    """A second record of a trial behind the first, as it was or with other numbers: the first one counts."""
    lines = _finished(scene)
    place = scene.rng.randrange(len(lines))
    record = json.loads(lines[place])
    changed = scene.rng.random() < 0.7
    if changed:
        record |= {"forward": record["forward"] + 1, "status": "failed", "error": "written twice"}
    _insert(scene, lines, json.dumps(record).encode() if changed else lines[place], place + 1)
    scene.detail += ": with other numbers" if changed else ": the same again"
    return True


def _changed(**fields: Any) -> Callable[[random.Random, dict[str, Any]], bytes]:
    return lambda rng, record: json.dumps({**record, **fields}).encode()


def _bytes(rng: random.Random, record: dict[str, Any]) -> bytes:
    return bytes(rng.randrange(256) for _ in range(rng.randrange(1, 200))).replace(b"\n", b"?")


GARBAGE: dict[str, Callable[[random.Random, dict[str, Any]], bytes]] = {
    "bytes": _bytes,
    "no text": lambda rng, record: b"\xff\xfe\x00 no UTF-8",
    "deep brackets": lambda rng, record: b"[" * 100_000,
    "an empty object": lambda rng, record: b"{}",
    "a number": lambda rng, record: b"10",
    "another suite's record": _changed(key="0123456789abcdef", seed=77),
    "an unhashable key": _changed(key=["a", "list"]),
    "a key that is null": _changed(key=None),
    "words for counts": _changed(forward="many", backward="some"),
    "a curve of empty points": _changed(curve=[{}]),
    "a curve of words": _changed(curve=[{"passes": "one", "loss": "low"}]),
    "a curve that is null": _changed(curve=None),
    "settings that are a list": _changed(hyper=[1, 2]),
    "a seed that is a list": _changed(seed=[1]),
    "an unknown status": _changed(status="splendid"),
    "a status that is a list": _changed(status=["spent"]),
    "a number of 400 digits": _changed(forward=10**400),
    "an unknown version": _changed(version=99),
    "an unknown field": _changed(colour="red"),
    "a problem that is a number": _changed(problem=5),
    "an error with half a character": _changed(error="\ud800"),
    "an error that is an object": _changed(error={"a": 1}),
    "a certificate that is text": _changed(certificate="proved"),
    "a loss that is infinite": lambda rng, record: json.dumps(
        {**record, "curve": [{**point, "loss": float("inf")} for point in record["curve"]]}
    ).encode(),
}


def _garbage(scene: Scene) -> bool:
    """A line that is no record of this folder at a random place; those with a planned key stand behind its record."""
    lines = _finished(scene)
    place = scene.rng.randrange(len(lines))
    name = scene.rng.choice(sorted(GARBAGE))
    _insert(scene, lines, GARBAGE[name](scene.rng, json.loads(lines[place])), place + 1)
    scene.detail += f": {name}"
    return True


def _stray(scene: Scene) -> bool:
    """What a run that was killed may have left in the folder."""
    lines = _finished(scene)
    (scene.folder / RECORDS).write_bytes(b"".join(line + b"\n" for line in lines))
    name = scene.rng.choice([".spool", ".probe", "environment.json.new", f"{RECORDS}.new"])
    path: Path = scene.folder / name
    if name == ".spool":
        path.mkdir()
        (path / "0123456789abcdef").write_text('[0, {"passes": 1', encoding="utf-8")
    else:
        path.write_text("{", encoding="utf-8")
    scene.detail += f": {name}"
    return True


def kinds() -> dict[str, Kind]:
    """{name: kind}."""

    def rest(inject: Inject) -> Kind:
        return Kind(inject, at_rest=True, others_allowed=True)

    return {
        "disk_full": Kind(_fill, prepare=_small_disk, mounts=True),
        "read_only": Kind(_read_only),
        "removed": Kind(_remove, keeps=False),
        "moved_away": Kind(_move),
        "truncated": rest(_truncate),
        "doubled": rest(_double),
        "garbage": rest(_garbage),
        "stray_files": rest(_stray),
    }
