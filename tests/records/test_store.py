"""The folder of a run: what a killed run left half done goes, what was measured stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from optbench.core.trial import RequestError
from optbench.records.files import REJECTED
from optbench.records.schema import RECORDS, Record
from optbench.records.store import Store


def record(key: str) -> Record:
    return Record(key, "sphere", "adam", {}, 0, 10.0, "cpu", "spent", curve=[{"passes": 0.0, "loss": 1.0}])


def test_what_a_killed_run_left_half_done_is_removed_and_records_stay_byte_for_byte(tmp_path: Path) -> None:
    with Store(tmp_path / "run") as store:
        store.append(record("a" * 16))
    before = (tmp_path / "run" / RECORDS).read_bytes()
    (tmp_path / "run" / ".spool").mkdir()
    (tmp_path / "run" / ".spool" / "1.points").write_text("[0, {}]\n")
    (tmp_path / "run" / f"{RECORDS}.new").write_text("half a")
    with Store(tmp_path / "run") as store:
        assert list(store.records) == ["a" * 16]
    assert sorted(path.name for path in (tmp_path / "run").iterdir() if path.name != ".lock") == [RECORDS]
    assert (tmp_path / "run" / RECORDS).read_bytes() == before


def test_a_folder_that_was_removed_while_its_report_was_written_is_ours_and_others_are_not(tmp_path: Path) -> None:
    for name in ("figures", "tables"):
        (tmp_path / name).mkdir()
    with pytest.raises(RequestError, match="holds other files"):
        Store(tmp_path)
    (tmp_path / "report.html").touch()
    with Store(tmp_path) as store:
        assert not store.records
    (tmp_path / RECORDS).unlink()
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RequestError, match="holds other files"):
        Store(tmp_path)


def test_what_others_write_into_the_file_during_a_run_goes_aside(tmp_path: Path) -> None:
    """A forged record of a trial that has none yet, garbage, and a file that was cut; own lines stay byte for byte."""
    path, own = tmp_path / RECORDS, [record(key * 16) for key in "abc"]
    forged = Record(**{**vars(own[1]), "passes": 1e-9}).line()
    with Store(tmp_path) as store:
        store.append(own[0])
        with path.open("ab") as file:
            file.write(forged.encode() + b"\n\xff{[ garbage\n")
        store.append(own[1])
        path.write_bytes(path.read_bytes()[30:])
        store.append(own[2])
        path.write_bytes(path.read_bytes().replace(b"sphere", b"sqhere", 1))  # of the same length
        store.settle()
        assert store.rejected == 4
    assert path.read_text() == "".join(one.line() + "\n" for one in own)
    aside = (tmp_path / REJECTED).read_bytes()
    assert aside.count(b"\n") == 4 and forged.encode() in aside and b"\xff{[ garbage\n" in aside
