"""The manifest of a submission to an archive: what it holds, the hash of every file, how it was made, who vouches.

A submission is a packed result folder with `manifest.json` beside its files. The manifest ends with a hash of itself.
The hashes show that bytes have changed; they are no signature, so they do not show who did it. Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from optbench.core.trial import RequestError
from optbench.records.files import ENVIRONMENT, SUITE
from optbench.records.packing import PACKED
from optbench.records.schema import RECORDS

MANIFEST, FORMAT = "manifest.json", 1
FILES = (PACKED, ENVIRONMENT, SUITE)  # that a submission may consist of
VERIFIED, SELF_REPORTED = "verified", "self-reported"
MAX_NAME, MAX_TEXT = 64, 300  # characters of a submission's name, and of what its author writes
MAX_BYTES = 10 * 2**20  # of a manifest
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_NAME - 1}}}")
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{k}" for port in ("com", "lpt") for k in range(1, 10))}  # of Windows


def plain(text: Any, most: int = MAX_TEXT) -> str:
    """Somebody's text as one line that a terminal and a page can show: nothing that cannot be seen, no direction marks.

    Whether `<` is markup is the page's business: it escapes.
    """
    shown = "".join(c if c.isprintable() else " " for c in str(text)[: 4 * most])
    shown = " ".join(shown.split())
    return shown if len(shown) <= most else shown[: most - 3] + "..."


def checked_name(name: str) -> str:
    """The name of a submission, which is a folder on every system. Raises RequestError for any other text."""
    if not _NAME.fullmatch(name) or name.endswith(".") or name.split(".")[0].lower() in _DEVICES:
        raise RequestError(
            f"{plain(name, 40)!r} is no name of a submission: up to {MAX_NAME} letters, digits, '.', '_' and '-', "
            "a letter or digit first"
        )
    return name


def seal(folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write the manifest of a packed folder: `facts`, the hash of every file, and a hash of it all."""
    files = {name: {"sha256": file_hash(folder / name), "bytes": (folder / name).stat().st_size} for name in FILES
             if (folder / name).is_file()}  # fmt: skip
    whole = {"format": FORMAT, **facts, "files": files}
    whole["sha256"] = _own_hash(whole)
    temporary = folder / f"{MANIFEST}.new"
    temporary.write_bytes(f"{json.dumps(whole, indent=1)}\n".encode())
    temporary.replace(folder / MANIFEST)
    return whole


def file_hash(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_submission(folder: Path) -> bool:
    """Whether the folder claims to be one: it has a manifest."""
    return (folder / MANIFEST).is_file()


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a submission, its types and its own hash checked. Raises RequestError in one line."""
    path = folder / MANIFEST
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RequestError(f"{path} is larger than any manifest")
        found = json.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        raise RequestError(f"{folder} is no submission: it has no {MANIFEST}; `archive add` makes one") from None
    except (ValueError, RecursionError):
        raise RequestError(f"{path} is not JSON: it was changed or damaged") from None
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        stated = plain(found.get("format"), 20) if isinstance(found, dict) else "none"
        raise RequestError(f"{path} is of format {stated}, this optbench reads {FORMAT}")
    for name, (check, what) in _SCHEMA.items():
        if name not in found or not check(found[name]):
            raise RequestError(f"{path}: {name} is not {what}")
    if found["sha256"] != _own_hash(found):
        raise RequestError(f"{path} was changed: its text has another hash than it states")
    return found


def checked(folder: Path) -> dict[str, Any]:
    """The manifest of a submission whose every byte is as stated. Raises RequestError for whatever is not."""
    found = read_manifest(folder)
    if others := sorted(set(found["files"]) - set(FILES)):
        raise RequestError(f"{folder / MANIFEST} lists {plain(others[0], 60)!r}, which is no file of a submission")
    if PACKED not in found["files"] or ENVIRONMENT not in found["files"]:
        raise RequestError(f"{folder / MANIFEST} lists no {PACKED} or no {ENVIRONMENT}")
    for name in (*FILES, RECORDS):
        path = folder / name
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise RequestError(f"{path} is no file, but a link or a folder")
        if path.exists() and name not in found["files"]:
            raise RequestError(f"{path} is not in the manifest: it was added afterwards")
    for name, stated in found["files"].items():
        path = folder / name
        if not path.is_file():
            raise RequestError(f"{path} is missing, the manifest lists it")
        if path.stat().st_size != stated["bytes"] or file_hash(path) != stated["sha256"]:
            raise RequestError(f"{path} was changed: its bytes are not those that the manifest states")
    return found


def _own_hash(manifest: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in manifest.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 10 * MAX_TEXT


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _are_files(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(one, dict) and _is_text(one.get("sha256")) and _is_count(one.get("bytes")) for one in value.values()
    )


def _is_verification(value: Any) -> bool:
    counts = ("sampled", "same", "close", "differ", "not_compared", "seed")
    return value is None or (isinstance(value, dict) and all(_is_count(value.get(name)) for name in counts))


# What every part must be: (check, what to say where it is not).
_SCHEMA: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("name", "sha256", "optbench", "suite", "command", "author", "note", "added"), (_is_text, "text")),
    "kind": (lambda value: value in (VERIFIED, SELF_REPORTED), f"{VERIFIED!r} or {SELF_REPORTED!r}"),
    **dict.fromkeys(("trials", "seeds", "self_reported_trials"), (_is_count, "a count")),
    **dict.fromkeys(("problems", "optimizers", "builds", "marks"), (_are_texts, "a list of text")),
    **dict.fromkeys(("versions", "machine"), (lambda value: isinstance(value, dict), "an object")),
    "files": (_are_files, "an object of hashes and sizes"),
    "verification": (_is_verification, "null or the counts of a verification"),
}
