"""Files of a user's own that travel with the work: plugin files, modules beside them, and data that problems read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from optbench.core.trial import RequestError

MAX_BYTES = 256 * 2**20  # of one file that is sent; a larger one must be on a disk that all machines share
SCAN_SECONDS = 600.0


@dataclass(frozen=True)
class Parcel:
    """Files as they lie where the run was started.

    roots: folders there; the first is the working directory. files: (number of the root, path below it, content).
    in_place: (path, bytes, digest) of files that are not sent: they must be there under the same name.
    """

    roots: tuple[str, ...] = ()
    files: tuple[tuple[int, str, bytes], ...] = field(default=(), repr=False)
    in_place: tuple[tuple[str, int, str], ...] = ()

    @property
    def digest(self) -> str:
        """Names this content."""
        found = hashlib.sha256(repr((self.roots, self.in_place)).encode())
        for root, path, content in self.files:
            found.update(f"{root} {path} {len(content)}\n".encode() + content)
        return found.hexdigest()[:16]


def pack(files: Sequence[str], problems: Sequence[str], optimizers: Sequence[str]) -> Parcel:
    """What problems and optimizers of others need of this machine's files. Empty where there are none.

    files: plugin files. The files are found by importing and loading everything once in a process of its own, which
    notes what is opened. Raises RequestError where that fails.
    """
    if not (files or problems or optimizers):
        return Parcel()
    roots = _roots(files)
    asked = {"files": list(files), "problems": list(problems), "optimizers": list(optimizers), "path": sys.path}
    with tempfile.TemporaryDirectory() as scratch:
        answer = Path(scratch) / "answer"
        command = [sys.executable, "-m", "optbench.execution.cluster.scan", str(answer)]
        try:
            done = subprocess.run(
                command, input=json.dumps(asked), text=True, capture_output=True, timeout=SCAN_SECONDS
            )
            found = json.loads(answer.read_text(encoding="utf-8"))
        except subprocess.TimeoutExpired:
            raise RequestError(f"what plugins and problems read was not loaded within {SCAN_SECONDS:g} s") from None
        except (OSError, ValueError):
            last = done.stderr.strip().splitlines()[-1:] or ["it ended at once"]
            raise RequestError(f"what plugins and problems read cannot be found out: {last[0]}") from None
    if "error" in found:
        raise RequestError(found["error"])
    return _packed(roots, [Path(path) for path in found["opened"]])


def _roots(files: Sequence[str]) -> list[Path]:
    """The folders whose files keep their place among each other: where the user is, scripts' and plugins' folders."""
    taken = [Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()]
    paths = [Path(entry or ".") for entry in sys.path]
    candidates = [Path.cwd(), *(path for path in paths if path.is_dir()), *(Path(file).parent for file in files)]
    roots: list[Path] = []
    for path in (path.resolve() for path in candidates):
        installed = "site-packages" in path.parts or any(path.is_relative_to(top) for top in taken)
        if path not in roots and not (installed and roots):
            roots.append(path)
    return roots


def _packed(roots: list[Path], paths: Sequence[Path]) -> Parcel:
    sent, in_place = [], []
    for path in sorted(set(paths)):
        inside = [(len(str(root)), n) for n, root in enumerate(roots) if path.is_relative_to(root)]
        try:
            size = path.stat().st_size
            if not inside or size > MAX_BYTES:
                in_place.append((str(path), size, _digest(path)))
                continue
            number = max(inside)[1]
            sent.append((number, path.relative_to(roots[number]).as_posix(), path.read_bytes()))
        except OSError as error:
            raise RequestError(f"{path}, which a plugin or problem reads, cannot be read: {error.strerror}") from None
    return Parcel(tuple(map(str, roots)), tuple(sent), tuple(in_place))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(parcel: Parcel, folder: Path) -> dict[str, str]:
    """Lay the files out below a folder, whichever worker of the machine comes first: {path there: path here}.

    Raises RequestError for a file that must be here and is not, OSError where the folder takes no files.
    """
    for path, size, digest in parcel.in_place:
        here = Path(path)
        if not here.is_file() or here.stat().st_size != size or _digest(here) != digest:
            why = "is another one" if here.is_file() else "is not there"
            raise RequestError(f"{path} ({size / 2**20:.3g} MiB), which the run reads and which is not sent, {why}")
    target = folder / f"files-{parcel.digest}"
    if not target.is_dir():
        half = Path(tempfile.mkdtemp(prefix="half-", dir=folder))
        for number in range(max(1, len(parcel.roots))):
            (half / str(number)).mkdir()
        for number, inside, content in parcel.files:
            file = half / str(number) / PurePosixPath(inside)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        try:
            half.rename(target)
        except OSError:  # another worker was faster
            shutil.rmtree(half, ignore_errors=True)
    return {
        os.path.join(parcel.roots[number], *PurePosixPath(inside).parts): str(target / str(number) / inside)
        for number, inside, _ in parcel.files
    }


def places(parcel: Parcel, folder: Path) -> list[str]:
    """Where `unpack` has put the roots; the first is the working directory."""
    return [str(folder / f"files-{parcel.digest}" / str(number)) for number in range(max(1, len(parcel.roots)))]


def described(parcel: Parcel) -> dict[str, Any]:
    """What travels, in numbers."""
    return {"files": len(parcel.files), "bytes": sum(len(content) for *_, content in parcel.files)}
