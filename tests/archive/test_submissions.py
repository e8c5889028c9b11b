"""An archive takes what is complete, refuses or marks what is not, and sees every byte that changes."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import pytest
from helpers.synthetic import Runner, make

from optbench import report
from optbench.archive.submissions import add, entries, line, opened, shown
from optbench.cli import main
from optbench.core.trial import RequestError
from optbench.records.files import ENVIRONMENT, read_environment
from optbench.records.manifest import FILES, MANIFEST, checked, plain, seal
from optbench.records.merge import builds, merge
from optbench.records.reader import read
from optbench.records.reference import BUILT_IN, beside, reference

EIGHT = [f"p{k}" for k in range(8)]
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    make(tmp_path / "results", {"adam": Runner(rate=3.0), "sgd": Runner(rate=2.0)}, EIGHT)
    return tmp_path / "results"


@pytest.fixture
def archive(tmp_path: Path, results: Path) -> Path:
    add(results, tmp_path / "archive", "known", author="A. Name")
    return tmp_path / "archive"


def resealed(folder: Path, **changed: Any) -> None:
    """A manifest whose hashes fit, with other statements."""
    found = json.loads((folder / MANIFEST).read_text())
    seal(folder, {key: value for key, value in found.items() if key not in ("format", "files", "sha256")} | changed)


def test_a_submission_holds_every_trial_and_says_how_it_was_made(archive: Path, results: Path) -> None:
    found = opened(archive / "known")
    assert (found["trials"], found["seeds"], found["problems"]) == (80, 5, EIGHT)
    assert found["optimizers"] == ["adam", "sgd"] and found["kind"] == "self-reported"
    assert found["builds"] == ["optbench 0.1.0, torch 2.13.0"] and found["author"] == "A. Name"
    assert {path.name for path in (archive / "known").iterdir()} == {*FILES, MANIFEST}
    assert read(archive / "known").trials.equals(read(results).trials)
    assert [entry.folder.name for entry in entries(archive)] == ["known"]
    assert "known  self-reported  80 trials, 8 problems, 2 optimizers, 5 seeds" in line(entries(archive)[0])
    assert any(text.startswith("command:") for text in shown(found))


@pytest.mark.parametrize(
    ("command", "shared"),
    [
        ("run --problem /home/a/my.py:Net --out=/tmp/x/y", "run --problem my.py:Net --out=y"),
        (r"run --out 'C:\Users\a\mine'", "run --out 'mine'"),
        ("run quick --optimizer plugins/mine.py:Mine --out ../mine", None),
        ("run https://example.org/a/suite.toml", None),
    ],
)
def test_a_submission_tells_no_folder_of_its_authors_machine(
    results: Path, tmp_path: Path, command: str, shared: str | None
) -> None:
    facts = read_environment(results) | {"command": command}
    (results / ENVIRONMENT).write_text(json.dumps(facts))
    add(results, tmp_path / "archive", "mine")
    assert opened(tmp_path / "archive" / "mine")["command"] == (shared or command)
    assert read_environment(tmp_path / "archive" / "mine")["command"] == (shared or command)


def test_ones_own_results_stand_beside_a_submission(archive: Path, tmp_path: Path) -> None:
    make(tmp_path / "mine", {"mine": Runner(rate=4.0)}, EIGHT)
    written = report.write([tmp_path / "mine"], tmp_path / "page", report.View(against=str(archive / "known")))
    assert any(text.startswith("mine is number 1 of 3 by score, ") for text in written.verdict)


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_changed_byte_is_seen_wherever_it_is(archive: Path, tmp_path: Path, name: str) -> None:
    path = archive / "known" / name
    content = bytearray(path.read_bytes())
    place = content.index(b"adam") if name == MANIFEST else len(content) // 2
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(RequestError, match=rf"{name} was changed|{name} is not JSON"):
        opened(archive / "known")
    assert "REFUSED" in line(entries(archive)[0])
    make(tmp_path / "mine", {"mine": Runner()}, EIGHT)
    with pytest.raises(RequestError, match=name):  # it is compared with no more
        beside(read(tmp_path / "mine"), str(archive / "known"))


def test_what_is_put_beside_or_taken_away_is_seen(archive: Path) -> None:
    """Readers prefer records.jsonl to the packed file, so one that is added would be read in its place."""
    extra = archive / "known" / "records.jsonl"
    extra.write_text("")
    with pytest.raises(RequestError, match="not in the manifest"):
        checked(archive / "known")
    extra.unlink()
    (archive / "known" / "suite.toml").unlink()
    with pytest.raises(RequestError, match="is missing"):
        checked(archive / "known")


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "records.jsonl"])
def test_a_manifest_cannot_point_elsewhere(archive: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = json.loads((archive / "known" / MANIFEST).read_text())
    found["files"][name] = {"sha256": "0" * 64, "bytes": 1}
    from optbench.records import manifest

    found["sha256"] = manifest._own_hash(found)
    (archive / "known" / MANIFEST).write_text(json.dumps(found))
    with pytest.raises(RequestError, match="which is no file of a submission"):
        checked(archive / "known")


def test_a_link_in_place_of_a_file_is_refused(archive: Path, tmp_path: Path) -> None:
    path = archive / "known" / "suite.toml"
    path.rename(tmp_path / "elsewhere.toml")
    try:
        path.symlink_to(tmp_path / "elsewhere.toml")
    except OSError:
        pytest.skip("this system makes no links")
    with pytest.raises(RequestError, match="a link or a folder"):
        checked(archive / "known")


@pytest.mark.parametrize(
    "name", ["../up", "a/b", "a\\b", "..", ".hidden", "", "x" * 65, "con", "NUL.txt", "a.", HOSTILE, "a\nb", "a\u202eb"]
)
def test_a_name_that_is_no_folder_of_every_system_is_refused(results: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(RequestError, match="is no name of a submission") as caught:
        add(results, tmp_path / "archive", name)
    assert "\n" not in str(caught.value) and str(caught.value).isprintable()
    assert not (tmp_path / "archive").exists() and not (tmp_path / "up").exists()


def test_a_submission_under_another_name_is_refused(archive: Path) -> None:
    (archive / "known").rename(archive / "better_known")
    with pytest.raises(RequestError, match="calls itself 'known'"):
        opened(archive / "better_known")


def test_free_text_is_one_line_that_can_be_seen(results: Path, tmp_path: Path) -> None:
    found = add(results, tmp_path / "archive", "x", author="A\x1b[31m\nB\u202eC\ud800", note="word " * 200)
    assert found["author"] == "A [31m B C" and len(found["note"]) <= 300
    assert opened(tmp_path / "archive" / "x")["author"] == found["author"]


def test_hostile_names_in_records_are_shown_as_text(tmp_path: Path) -> None:
    make(tmp_path / "results", {f"{HOSTILE}\x1b[2J": Runner()}, ["../../p", "q\nr"])
    add(tmp_path / "results", tmp_path / "archive", "x")
    for text in (*shown(opened(tmp_path / "archive" / "x")), line(entries(tmp_path / "archive")[0])):
        assert text.isprintable()
    assert {path.name for path in tmp_path.iterdir()} == {"results", "archive"}


def test_a_taken_name_is_not_written_over(archive: Path, results: Path) -> None:
    before = (archive / "known" / MANIFEST).read_bytes()
    with pytest.raises(RequestError, match="has a submission known already"):
        add(results, archive, "known")
    assert (archive / "known" / MANIFEST).read_bytes() == before


def test_a_submission_without_seeds_is_refused_and_one_of_a_single_seed_is_marked(
    results: Path, tmp_path: Path
) -> None:
    make(tmp_path / "once", {"adam": Runner()}, EIGHT, seeds=1)
    assert add(tmp_path / "once", tmp_path / "archive", "once")["marks"] == ["one seed: nothing tells its luck"]
    records = [json.loads(text) for text in (results / "records.jsonl").read_text().splitlines()]
    del records[3]["seed"]
    (results / "records.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    with pytest.raises(RequestError, match="line 4 of its records is no record: no field 'seed'"):
        add(results, tmp_path / "archive", "without")
    assert [entry.folder.name for entry in entries(tmp_path / "archive")] == ["once"]


def test_what_is_not_complete_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "part", {"adam": Runner()}, keep=3)
    with pytest.raises(RequestError, match="is not complete: 7 of 10 planned"):
        add(tmp_path / "part", tmp_path / "archive", "part")
    make(tmp_path / "bare", {"adam": Runner()}, environment=False)
    with pytest.raises(RequestError, match=r"has no environment\.json"):
        add(tmp_path / "bare", tmp_path / "archive", "bare")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match="holds no records"):
        add(tmp_path / "empty", tmp_path / "archive", "empty")


def test_mixed_versions_are_refused_or_marked(results: Path, tmp_path: Path) -> None:
    make(tmp_path / "other", {"pso": Runner()}, EIGHT)
    facts = json.loads((tmp_path / "other" / "environment.json").read_text())
    facts["versions"]["torch"] = "2.9.0"
    (tmp_path / "other" / "environment.json").write_text(json.dumps(facts))
    merge([results, tmp_path / "other"], tmp_path / "both", mixed=True)
    made = ["optbench 0.1.0, torch 2.13.0", "optbench 0.1.0, torch 2.9.0"]
    assert builds(read_environment(tmp_path / "both")) == made
    with pytest.raises(RequestError, match="holds results of several versions") as caught:
        add(tmp_path / "both", tmp_path / "archive", "both")
    assert all(one in str(caught.value) for one in made) and "--mixed" in str(caught.value)
    found = add(tmp_path / "both", tmp_path / "archive", "both", mixed=True)
    assert found["builds"] == made and found["marks"] == [f"results of several versions: {'; '.join(made)}"]
    assert "MARKED" in line(entries(tmp_path / "archive")[0])


def test_another_version_than_the_references_is_noted(archive: Path, tmp_path: Path) -> None:
    make(tmp_path / "mine", {"mine": Runner()}, EIGHT)
    facts = json.loads((tmp_path / "mine" / "environment.json").read_text())
    facts["versions"]["torch"] = "2.9.0"
    (tmp_path / "mine" / "environment.json").write_text(json.dumps(facts))
    notes = beside(read(tmp_path / "mine"), str(archive / "known")).notes
    assert any(
        "was made by optbench 0.1.0, torch 2.13.0, these results by optbench 0.1.0, torch 2.9.0" in one for one in notes
    )


def test_a_reference_without_any_of_ones_problems_is_refused(archive: Path, tmp_path: Path) -> None:
    make(tmp_path / "mine", {"mine": Runner()}, ["elsewhere"])
    with pytest.raises(RequestError, match="shares no problem and budget with the reference") as caught:
        beside(read(tmp_path / "mine"), str(archive / "known"))
    assert "\n" not in str(caught.value) and "does not have it: elsewhere" in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"kind": "golden"}, "kind is not 'verified' or 'self-reported'"),
        ({"trials": -1}, "trials is not a count"),
        ({"problems": [1]}, "problems is not a list of text"),
        ({"author": None}, "author is not text"),
        ({"verification": {"same": True}}, "verification is not null or the counts"),
    ],
)
def test_a_manifest_of_other_types_is_refused(archive: Path, wrong: dict[str, Any], told: str) -> None:
    resealed(archive / "known", **wrong)
    with pytest.raises(RequestError, match=told):
        checked(archive / "known")


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2}', "{", "\x00", "[" * 100_000])
def test_a_manifest_that_is_none_is_refused(archive: Path, text: str) -> None:
    (archive / "known" / MANIFEST).write_text(text)
    with pytest.raises(RequestError, match=MANIFEST):
        checked(archive / "known")


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_built_in_references_are_submissions_whose_bytes_hold(name: str) -> None:
    assert checked(reference(name))["trials"] > 3000


def test_packed_records_that_are_no_such_file_are_refused(archive: Path, tmp_path: Path) -> None:
    (archive / "known" / "records.jsonl.xz").write_bytes(lzma.compress(b'{"key": 1}\n'))
    resealed(archive / "known")
    make(tmp_path / "mine", {"mine": Runner()}, EIGHT)
    with pytest.raises(RequestError, match="shares no problem"):
        beside(read(tmp_path / "mine"), str(archive / "known"))


def test_the_command_line_adds_lists_and_shows(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = str(tmp_path / "archive")
    assert main(["archive", "add", str(results), "--to", to, "--name", "x"]) == 0
    assert main(["archive", "list", to]) == 0
    assert main(["archive", "show", f"{to}/x", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.partition("\n{")[2].join(("{", "")))["name"] == "x"
    assert main(["archive", "show", f"{to}/y"]) == 2
    assert "is no submission" in capsys.readouterr().err
    (tmp_path / "archive" / "x" / "suite.toml").write_text("changed")
    assert main(["archive", "list", to]) == 1 and "REFUSED" in capsys.readouterr().out
    assert main(["archive", "list", str(tmp_path / "none")]) == 2


def test_text_is_made_plain() -> None:
    assert plain("a\tb\x00\u2066c" + "d" * 400, 20) == "a b c" + "d" * 12 + "..."
