"""The fault campaign: its verification sees what is wrong, its parts do what they say, and some real faults."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from optbench.testing.faults import __main__ as command
from optbench.testing.faults import hostile, verify
from optbench.testing.faults.campaign import KINDS, Campaign
from optbench.testing.faults.files import GARBAGE
from optbench.testing.faults.launch import Launcher, Run
from optbench.testing.faults.outcome import Outcome
from optbench.testing.faults.soak import Held, Soak, soak
from optbench.testing.faults.soak import wrong as soaked_wrong
from optbench.testing.faults.table import failures, page, table

pytestmark = pytest.mark.skipif(os.name != "posix", reason="faults are a Unix system's")


def record(key: str, lanes: int = 1, **fields: Any) -> dict[str, Any]:
    point = {"passes": 1.0, "forward": 10, "seconds": 0.1, "loss": 0.5}
    made = {"key": key, "problem": "p", "optimizer": "o", "seed": 0, "lanes": lanes, "status": "spent", "error": None}
    return {**made, "forward": 10, "seconds": 0.1, "wall_seconds": 1.0, "curve": [point], **fields}


def line(made: dict[str, Any]) -> bytes:
    return json.dumps(made).encode()


REFERENCES = {1: {"a": record("a"), "b": record("b")}, 2: {"a": record("a", 2), "b": record("b", 2)}}
WELL = [line(record("a")), line(record("b", 2))]


def check(lines: list[bytes], **how: Any) -> str:
    return "; ".join(verify.check_records(lines, REFERENCES, **how))


def test_what_an_undisturbed_run_leaves_is_well() -> None:
    assert not check(WELL, before=WELL[:1])
    assert not check([line(record("a", seconds=9.0, wall_seconds=0.0)), WELL[1]]), "clocks may differ"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"forward": 11}, "forward was 10, is 11"),
        ({"status": "killed"}, "status was 'spent', is 'killed'"),
        ({"seed": True}, "seed was 0, is True"),
        ({"seed": 0.0}, "seed was 0, is 0.0"),
        ({"extra": 1}, "extra was None, is 1"),
        ({"curve": []}, "the curve was"),
        ({"curve": None}, "the curve was"),
        ({"curve": [{"passes": 1.0, "forward": 10, "loss": 0.5000001}]}, "curve[0].loss was 0.5, is 0.5000001"),
        ({"curve": [{"passes": 1.0, "forward": 10}]}, "curve[0].loss was 0.5, is None"),
    ],
)
def test_a_wrong_record_is_seen(changed: dict[str, Any], told: str) -> None:
    assert told in check([line(record("a", **changed)), WELL[1]])


def test_a_record_is_compared_with_the_run_of_its_own_width() -> None:
    references = {1: {"a": record("a")}, 2: {"a": record("a", 2, forward=12)}}
    assert not verify.check_records([line(record("a", 2, forward=12))], references)
    assert verify.check_records([line(record("a", 1, forward=12))], references)
    assert "lanes was 1, is 7" in verify.check_records([line(record("a", 7))], references)[0]


def test_doubled_missing_and_unplanned_records_are_seen() -> None:
    assert "p x o, seed 0 has 2 records" in check([*WELL, WELL[0]])
    assert "1 of 2 planned trials have no record" in check(WELL[:1])
    assert "1 records belong to no planned trial" in check([*WELL, line(record("c"))])
    assert not check([*WELL, line(record("c"))], others_allowed=True)


@pytest.mark.parametrize("odd", [b"{", b"\xff", b"[" * 100_000, b"[]", b"{}", b'{"key": ["a"]}', b""])
def test_a_line_that_is_no_record_is_seen(odd: bytes) -> None:
    assert "line 3 is no record" in check([*WELL, odd])


def test_one_changed_byte_of_an_earlier_record_is_seen() -> None:
    before = line(record("a", wall_seconds=1.5))  # a clock, so that nothing else tells
    assert "1 records that were there before changed or went" in check(WELL, before=[before])
    assert "changed or went" in check(WELL, before=[WELL[0].replace(b", ", b",", 1)])


def test_a_half_written_last_line_is_no_record_yet(tmp_path: Path) -> None:
    assert verify.whole_lines(tmp_path) == []
    (tmp_path / verify.RECORDS).write_bytes(b"one\ntwo\nthr")
    assert verify.whole_lines(tmp_path) == [b"one", b"two"]


def test_exit_codes_and_tracebacks_are_seen() -> None:
    assert not verify.check_ending(2, {0, 2}, "optbench: no")
    assert "exit code 1, expected 0 or 2" in verify.check_ending(1, {0, 2}, "")[0]
    assert "did not end" in verify.check_ending(None, {0}, "")[0]
    text = "Traceback (most recent call last):\n  File x\nKeyError: 'a'\n"
    assert verify.check_ending(0, {0}, text) == ["a traceback: KeyError: 'a'"]


def test_a_folder_that_is_not_as_promised_is_seen(tmp_path: Path) -> None:
    for name in verify.FOLDER:
        (tmp_path / name).write_text("</html>\n")
    (tmp_path / ".lock").touch()
    assert not verify.check_folder(tmp_path)
    (tmp_path / ".spool").mkdir()
    (tmp_path / "report.md").unlink()
    (tmp_path / "report.html").write_text("<html>")
    told = verify.check_folder(tmp_path)
    assert told == ["report.md is missing", ".spool was left behind", "report.html is cut off"]


def test_a_process_left_over_is_seen_and_killed(tmp_path: Path) -> None:
    code = "import subprocess; print(subprocess.Popen(['sleep', '60'], close_fds=True).pid)"
    with (tmp_path / "out").open("w") as out:
        started = subprocess.Popen([sys.executable, "-c", code], stdout=out, start_new_session=True)
    run = Run(started.pid, tmp_path / "out", tmp_path / "out", _launcher=None, _cold=started)  # type: ignore[arg-type]
    assert run.wait(20) == 0
    (left,) = run.leftovers(grace=0.1)
    assert left.pid == int((tmp_path / "out").read_text())
    assert "1 processes left over: 5 sleep" in verify.check_leftovers(["5 sleep"])[0]
    run.end()
    left.wait(5)
    assert not run.leftovers(grace=0.1)


def test_garbage_is_no_record_of_the_reference() -> None:
    import random

    for name, make in GARBAGE.items():
        made = make(random.Random(0), record("a"))
        assert b"\n" not in made and made != line(record("a")), name
        if name != "another suite's record":
            assert check([*WELL, made]), name


def test_every_hostile_plugin_is_python_and_has_the_same_trials(tmp_path: Path) -> None:
    assert len(hostile.PLUGINS) >= 30
    for title, plugin in hostile.PLUGINS.items():
        text = hostile.write(tmp_path, title, plugin).read_text()
        compile(text, title, "exec")
        assert f"name: ClassVar[str] = '{hostile.NAME}'".replace("'", '"') in text


def test_the_table_counts_what_was_injected_and_tells_how_to_do_it_again() -> None:
    outcomes = [
        Outcome("kill", 0, True, 2.0),
        Outcome("kill", 2, True, 4.0, "at 1 s", ["a | b"], again="--only 2"),
        Outcome("kill", 4),
        Outcome("full", 1, True, 3.0),
    ]
    text = table(outcomes)
    assert "| kill | 2 | 1 | 1 | 3.0 | 4.0 |" in text and "| all | 3 | 2 | 1 | 3.0 | 4.0 |" in text
    assert failures(outcomes) == "- kill (at 1 s): a / b. Again: `--only 2`\n"


def test_a_campaign_goes_on_where_it_was_stopped_and_is_joined_with_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    asked: list[int] = []

    class Stopped(Campaign):
        """Does nothing, and is stopped by Ctrl-C after the first two faults of a call."""

        def __init__(self, work: Path, launcher: Any, seed: int) -> None:
            """Nothing is run."""

        def run(self, plan: Any, jobs: int) -> Any:
            for done, (index, kind) in enumerate(plan):
                if done == 2:
                    raise KeyboardInterrupt
                asked.append(index)
                yield Outcome(kind, index, True, 1.0, "here", ["lost"] if index == 3 else [])

    class NoLauncher:
        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr("optbench.testing.faults.campaign.Campaign", Stopped)
    monkeypatch.setattr("optbench.testing.faults.launch.Launcher", NoLauncher)
    one, two, both = tmp_path / "one.md", tmp_path / "two.md", tmp_path / "both.md"
    call = ["--faults", "5", "--kinds", "kill_parent,int_all", "--seed"]
    assert command.main([*call, "1", "--out", str(one)]) == 130
    assert "the same command goes on" in capsys.readouterr().err and one.read_text().startswith(
        "2 of 5 faults of seed 1."
    )
    with one.with_suffix(".jsonl").open("a") as cut:
        cut.write('{"kind": "kill_par')  # of a process that was killed as it wrote
    assert [command.main([*call, "1", "--out", str(one)]) for _ in range(3)] == [130, 1, 1]
    assert asked == [0, 1, 2, 3, 4] and one.read_text().startswith("5 faults of seed 1.")
    assert command.main([*call, "2", "--out", str(two)]) == 130
    assert command.main(["--merge", str(one), str(two), str(one), "--out", str(both)]) == 1
    text = both.read_text()
    assert text.startswith("7 faults of seed 1 and faults of seed 2.") and "| all | 7 | 6 | 1 |" in text
    assert "Again: `python -m optbench.testing.faults --seed 1 --kinds kill_parent,int_all --only 3`" in text
    both.with_suffix(".jsonl").write_text("[]\n")
    assert command.main(["--merge", str(both)]) == command.main([*call, "1", "--out", str(both)]) == 2


def test_requests_that_make_no_sense_are_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # the handlers of the test run stay as they are
    for arguments in (["--kinds", "kil"], ["--hostile", "--kinds", "kil"], ["--soak", "5", "--faults", "5"]):
        assert command.main(arguments) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1 and ("unknown" in told or "takes fewer --faults than trials" in told)
    monkeypatch.setattr(os, "name", "nt")
    assert command.main(["--faults", "1"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "Unix" in told


TINY = 'problems = ["sphere_2d"]\noptimizers = ["adam", "sgd"]\nseeds = 2\npasses = 20\n'


def test_three_real_faults_are_survived(tmp_path: Path) -> None:
    """A kill, an interrupt from the keyboard, and a file that was cut; each run is recovered and verified."""
    plan = list(enumerate(("kill_parent", "int_all", "truncated")))
    with Launcher() as launcher:
        campaign = Campaign(tmp_path, launcher, seed=3, suite=TINY, lanes=1)
        for outcome in campaign.run(plan, jobs=3):
            assert outcome.injected and not outcome.failures, outcome
        assert {path.name for path in tmp_path.iterdir()} == {"small.toml", "undisturbed_1"}
        (tmp_path / "long").mkdir()
        found = soak(tmp_path / "long", launcher, trials=16, faults=3, cold=False)
        assert not found.failures and found.killed + found.stopped == 3, found
        assert [one.records for one in found.held][-1] == 16 and all(one.own < one.resident for one in found.held)


def test_a_long_run_that_lost_doubled_or_spoilt_a_record_is_seen() -> None:
    lines = [line(record(key)) for key in "abc"]
    assert soaked_wrong(lines, 3) == []
    assert soaked_wrong(lines[:2], 3) == ["2 records of 2 trials, 3 were planned"]
    assert soaked_wrong([*lines, lines[0]], 3) == ["4 records of 3 trials, 3 were planned"]
    assert soaked_wrong([*lines, b"{"], 3) == ["1 lines are no records"]
    assert soaked_wrong([*lines[:2], line(record("c", status="killed"))], 3) == ['not spent: 1 "killed"']
    text = Soak(3, 1, 2, 0.5, [Held(3, 300 * 2**20, 200 * 2**20, 12)], ["it stalled"]).text()
    assert "| 3 | 300 | 200 | 12 |" in text and "1 workers killed and 2 stopped" in text and "- it stalled" in text


@pytest.mark.campaign
def test_thirty_faults_are_survived(tmp_path: Path) -> None:
    with Launcher() as launcher:
        campaign = Campaign(tmp_path, launcher, seed=0, suite=TINY, lanes=1)
        possible = [name for name, kind in KINDS.items() if not kind.mounts and not kind.linux]
        plan = [(index, possible[index % len(possible)]) for index in range(30)]
        failed = [outcome for outcome in campaign.run(plan, os.cpu_count() or 1) if outcome.failures]
        assert not failed, page(failed)
