"""Odd records, odd environments and odd bytes: set aside, counted and kept, never a traceback."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from filelock import FileLock

from optbench.cli import main
from optbench.core.trial import RequestError
from optbench.records.files import BrokenEnvironmentError, read_environment, read_records
from optbench.records.schema import RECORDS, Record, RecordError, read_line
from optbench.records.store import Store
from optbench.report import export, write
from optbench.report.build import LOCK

GOOD = Record("k", "sphere", "adam", {"lr": 0.1}, 0, 10.0, "cpu", "spent", curve=[{"passes": 1.0, "loss": 2.0}])
ODD: dict[str, Any] = {
    "key": ["a"],
    "problem": 3,
    "optimizer": None,
    "hyper": [],
    "seed": "0",
    "budget": "ten",
    "device": {},
    "status": ["spent"],
    "error": 5,
    "lanes": None,
    "alone": "yes",
    "forward": "many",
    "flops": 10**400,
    "passes": [1],
    "seconds": {},
    "peak_bytes": "1",
    "certificate": {"lower": "a"},
    "fingerprint": 1,
    "curve": [{}],
}


def odd(**fields: Any) -> str:
    return json.dumps({**json.loads(GOOD.line()), **fields})


@pytest.mark.parametrize("name", ODD)
def test_a_field_of_another_type_makes_no_record(name: str) -> None:
    assert read_line(odd()) == GOOD
    with pytest.raises(RecordError, match=name):
        read_line(odd(**{name: ODD[name]}))


@pytest.mark.parametrize("line", [b"[" * 100_000, b"\xff\xfe", b'{"key": 1}', b"nan", b'{"key": "\xc3("}', b"{}" * 3])
def test_bytes_that_are_no_record_are_refused_in_one_line(line: bytes) -> None:
    with pytest.raises(RecordError) as refused:
        read_line(line)
    assert len(str(refused.value)) < 200


def test_half_and_control_characters_leave_a_record_as_they_enter_it() -> None:
    record = Record(**{**vars(GOOD), "error": "a\ud800b\nc\x00d"})
    for back in (read_line(record.line()), read_line(odd(error="a\ud800b\nc\x00d"))):
        assert back.error == "a?b c d"


def test_odd_lines_go_aside_byte_for_byte_and_good_ones_stay_so(tmp_path: Path) -> None:
    spaced, other = odd().encode(), odd(key="other").encode()  # with blanks, which we would not write
    doubled = odd(status="failed").encode()
    bad = [b"\xff\x00", doubled, b"[" * 100_000, odd(key=["a"]).encode()]
    (tmp_path / RECORDS).write_bytes(b"\n".join([spaced, *bad, other]) + b"\n")
    with Store(tmp_path) as store:
        assert store.rejected == 4 and store.records["k"].status == "spent"
    assert (tmp_path / RECORDS).read_bytes() == spaced + b"\n" + other + b"\n"
    assert (tmp_path / "rejected.jsonl").read_bytes() == b"\n".join(bad) + b"\n"


@pytest.mark.parametrize(
    "environment",
    [
        [],
        {"plan": [3]},
        {"plan": [{"key": ["a"]}]},
        {"problems": []},
        {"problems": {"sphere": 3}},
        {"problems": {"sphere": {"best": 3}}},
        {"problems": {"sphere": {"targets": {"1": "x"}}}},
        {"problems": {"sphere": {"dim": "x"}}},
        {"optimizers": {"adam": []}},
        {"versions": 3},
        {"machine": "x"},
        {"tuning": {"competitors": {"adam": {"labels": 3}}}},
        {"plan": None},
        {"machines": [{"name": ["a"]}]},
        {"machines": [{"versions": {"torch": [3]}}]},
        {"optbench": {"a": 1}},
        {"groups": [["a"]]},
        {"ceiling_flops_per_second": {"cpu": [["a"]]}},
    ],
)
def test_an_environment_of_another_shape_is_noted_and_the_report_goes_on(environment: Any, tmp_path: Path) -> None:
    (tmp_path / RECORDS).write_text(GOOD.line() + "\n")
    (tmp_path / "environment.json").write_text(json.dumps(environment))
    with pytest.raises(BrokenEnvironmentError):
        read_environment(tmp_path)


@pytest.mark.parametrize(
    "fields",
    [
        {"curve": []},
        {"curve": [{"loss": 1e308, "passes": 1.0}]},
        {"hyper": {"a": {"b": [1]}}},
        {"error": "\ud800|<b>&"},
    ],
)
def test_a_report_of_odd_records_is_written(fields: Any, tmp_path: Path) -> None:
    lines = [odd(), odd(key="second", seed=1, **fields), odd(key="third", optimizer="sgd", seed=1)]
    (tmp_path / RECORDS).write_bytes("\n".join(lines).encode() + b"\n\xff\n[[[[\n")
    (tmp_path / "environment.json").write_text('{"plan": null}')
    assert main(["report", str(tmp_path)]) == 0
    assert "2 line(s) of records.jsonl are no records" in (tmp_path / "report.md").read_text().replace("\\", "")


def test_a_report_that_cannot_be_written_leaves_the_old_one_whole(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / RECORDS).write_text(GOOD.line() + "\n")
    write([tmp_path])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("optbench.report.page.markdown", full)
    with pytest.raises(RequestError, match="No space left"):
        write([tmp_path])
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert read_records(tmp_path)[0] == [GOOD]


def test_a_second_report_waits_while_one_is_written(tmp_path: Path) -> None:
    (tmp_path / RECORDS).write_text(GOOD.line() + "\n")
    with FileLock(tmp_path / LOCK):
        second = threading.Thread(target=write, args=([tmp_path],))
        second.start()
        second.join(2)
        assert second.is_alive() and not (tmp_path / "report.html").exists()
    second.join(60)
    assert (tmp_path / "report.html").read_text().rstrip().endswith("</html>")


def test_no_cell_of_a_table_is_a_formula(tmp_path: Path) -> None:
    table = pd.DataFrame({"=name": ["=cmd()", "+a", "-b", "@c", "-0.5", "adam"], "value": [-1.0, 2, 3, 4, 5, 6]})
    export.tables(tmp_path, {"t": table}, {})
    text = (tmp_path / "t.csv").read_text()
    assert text == "'=name,value\n'=cmd(),-1.0\n'+a,2.0\n'-b,3.0\n'@c,4.0\n-0.5,5.0\nadam,6.0\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x" * 300], "cannot write to"),
        (["--seeds", "10000000000"], "10000000000 seeds are"),
        (["--optimizer", "adam[lr=" + ",".join(map(str, range(1, 20_000))) + "]"], "19999 combinations"),
    ],
)
def test_what_no_folder_holds_is_refused_at_once(arguments: list[str], message: str, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--problem", "sphere_2d", "--optimizer", "adam", "-q", *arguments]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1 and len(told) < 500


def test_a_suite_that_names_a_python_file_runs_nothing_unless_it_is_trusted(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    evil = tmp_path / "evil.py"
    evil.write_text(
        "open('ran', 'w').close()\nclass E:\n    needs = 'value'\n    def minimise(self, f): f.value(f.start(2))\n"
    )
    suite = f'problems = ["sphere_2d"]\noptimizers = ["{evil}:E"]\nseeds = 1\npasses = 5\ntiming = false\n'
    (tmp_path / "suite.toml").write_text(suite)
    assert main(["run", "suite.toml", "--out", "out", "-q"]) == 2
    assert "names the Python file" in capsys.readouterr().err and not (tmp_path / "ran").exists()
    from optbench.execution.request import Request

    assert (
        Request("suite.toml", trust=True).resolved_suite() == Request("suite.toml", files=["evil.py"]).resolved_suite()
    )
    assert Request("suite.toml", optimizers=["adam"]).resolved_suite().optimizers == ("adam",)


@pytest.mark.parametrize(
    "optimizer",
    [
        "adamw[lr=0.1] + {folder}/evil.py:E",
        "{folder}/evil.py:E + torch.optim:SGD",
        "adamw[lr=0.1] + evil:E",
        "evil:E",
        "evils.inner:E[lr=0.1]",
    ],
)
def test_code_that_came_with_a_suite_is_refused_wherever_a_spec_names_it(optimizer: str, tmp_path, monkeypatch) -> None:
    """A combination names several; a module in the folder is code as a file is."""
    from optbench.execution.request import Request

    (tmp_path / "evils").mkdir()
    for name in ("evil.py", "evils/__init__.py", "evils/inner.py"):
        (tmp_path / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass E: pass\n")
    named = optimizer.format(folder=tmp_path)
    (tmp_path / "suite.toml").write_text(f'problems = ["sphere_2d"]\noptimizers = ["{named}"]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(RequestError, match="which would run"):
        Request("suite.toml").resolved_suite()
    assert Request("suite.toml", trust=True).resolved_suite().optimizers == (named,)
    assert Request("suite.toml", optimizers=["torch.optim:SGD"]).resolved_suite()
    assert not (tmp_path / "ran").exists()


def test_installed_modules_are_no_code_that_came_with_a_suite(tmp_path, monkeypatch) -> None:
    from optbench.execution.request import Request

    (tmp_path / "suite.toml").write_text(
        'problems = ["sphere_2d"]\noptimizers = ["scipy.stats:norm", "torch.optim:SGD"]\n'
    )
    monkeypatch.chdir(tmp_path)
    assert Request("suite.toml").resolved_suite()


def test_a_folder_whose_name_is_no_text_has_its_report(tmp_path: Path) -> None:
    """As a locale that is not UTF-8 leaves names of files, and their commands in environment.json."""
    folder = tmp_path / os.fsdecode(b"o\xff\xe9")
    folder.mkdir()
    second = Record(**{**vars(GOOD), "key": "l", "seed": 1})
    (folder / RECORDS).write_text(GOOD.line() + "\n" + second.line() + "\n")
    (folder / "environment.json").write_text(json.dumps({"suite": "o\udcff", "command": f"run --out {folder}"}))
    for folders in ([folder], [folder, folder]):
        written = write(folders, tmp_path / "report")
        assert written.html.read_text(encoding="utf-8").rstrip().endswith("</html>")
    write([folder])
    if importlib.util.find_spec("pyarrow"):
        assert (folder / "tables" / "trials.parquet").stat().st_size > 0


def test_a_disk_that_is_full_where_output_goes_is_one_line() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    for words in (["list"], ["list", "--json"], ["merge", "a", "--out", "b"]):
        with open("/dev/full", "w") as full:
            command = [sys.executable, "-m", "optbench", *words]
            ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
            assert ended.returncode == 2 and ended.stderr.count("\n") == 1, ended.stderr
            silent = subprocess.run(command, stdout=full, stderr=full, timeout=60)
            assert silent.returncode == 2


TRAPS = ("evil.py", "evil/__init__.py", "sitecustomize.py", "conftest.py", "records.py", "pandas.py", "optbench.py")


def test_nothing_of_a_strangers_folder_is_imported_or_executed(tmp_path: Path) -> None:
    """Neither Python beside the records, nor what records, suite and environment name, nor a pickle."""
    folder, ran = tmp_path / "stranger", tmp_path / "ran"
    trap = f"open({str(ran)!r}, 'w').close()\n"
    for name in TRAPS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(trap)
    named = {"key": "e", "optimizer": f"{folder / 'evil.py'}:E", "problem": "evil:P", "fingerprint": "evil:E"}
    records = [GOOD, Record(**{**vars(GOOD), **named}), Record(**{**vars(GOOD), "key": "m", "problem": "evil.inner:P"})]
    (folder / RECORDS).write_text("".join(record.line() + "\n" for record in records))
    pickled = f"cbuiltins\nexec\n(S{trap.strip()!r}\ntR."
    for name in ("records.pkl", "environment.pkl", "cache.pickle"):
        (folder / name).write_text(pickled)
    about = {"suite": "s", "plugins": [f"{folder}/evil.py"], "optimizers": {"evil:E": {"family": "evil:E"}}}
    (folder / "environment.json").write_text(json.dumps(about))
    (folder / "suite.toml").write_text('problems = ["evil:P"]\noptimizers = ["evil.py:E"]\n')
    code = (
        "import sys; from pathlib import Path; import optbench; from optbench.cli import main\n"
        "folder, other = map(Path, sys.argv[1:])\n"
        "assert len(optbench.load(folder)) == 3 and len(optbench.curves(folder)) == 3\n"
        "assert main(['report', str(folder)]) == 0\n"
        "assert main(['merge', str(folder), str(folder), '--out', str(other)]) == 0\n"
        "assert main(['report', str(folder), str(other), '--out', str(other / 'both')]) == 0\n"
        "assert not [name for name, one in sys.modules.items() if str(folder) in str(getattr(one, '__file__', ''))]\n"
    )
    command = [sys.executable, "-c", code, str(folder), str(tmp_path / "merged")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert (folder / "report.html").exists() and not ran.exists()


def test_an_ampersand_of_a_name_is_no_entity() -> None:
    assert "| a&amp;lt;b |" in export.markdown(pd.DataFrame({"n": ["a&lt;b"]}))
