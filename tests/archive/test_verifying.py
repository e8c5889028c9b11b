"""Verify runs a sample again: what is as recorded agrees, what was changed differs, what cannot run is said to."""

from __future__ import annotations

import json
import lzma
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.synthetic import Runner, make

import optbench
from optbench.archive.submissions import add, opened, standing
from optbench.archive.verifying import beyond_tolerance, first_difference, verify
from optbench.core.trial import RequestError
from optbench.records.files import read_records
from optbench.records.manifest import MANIFEST, seal
from optbench.records.schema import Record

PLUGIN = '''
from dataclasses import dataclass
from typing import ClassVar

@dataclass(frozen=True)
class Halves:
    """Halves every parameter."""
    name: ClassVar[str] = "halves"
    needs: ClassVar[str] = "value"
    lanes: ClassVar[bool] = True

    def minimise(self, f):
        x = f.start()
        while True:
            f.value(x[:, None])
            x = x / 2
'''


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of six trials, as a submission."""
    folder = tmp_path_factory.mktemp("verify")
    optbench.run(
        problems=["line_mse", "mlp_iris"], optimizers=["adam", "random_search"], seeds=2, passes=5, timing=0, lanes=1,
        out=folder / "results",
    )  # fmt: skip
    add(folder / "results", folder / "archive", "mine")
    return folder / "archive"


@pytest.fixture
def copy(archive: Path, tmp_path: Path) -> Path:
    """The submission, to be changed."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for path in (archive / "mine").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def rewritten(folder: Path, change: Callable[[Any], None], environment: Callable[[Any], None] | None = None) -> None:
    """Records or environment changed by somebody who makes the hashes fit."""
    text = lzma.decompress((folder / "records.jsonl.xz").read_bytes()).decode()
    records = [json.loads(one) for one in text.splitlines()]
    for record in records:
        change(record)
    (folder / "records.jsonl.xz").write_bytes(
        lzma.compress("".join(json.dumps(one) + "\n" for one in records).encode())
    )
    if environment:
        facts = json.loads((folder / "environment.json").read_text())
        environment(facts)
        (folder / "environment.json").write_text(json.dumps(facts))
    found = json.loads((folder / MANIFEST).read_text())
    seal(folder, {key: value for key, value in found.items() if key not in ("format", "files", "sha256")})


def run_again(folder: Path, **how: Any) -> Any:
    return verify(str(folder), how.pop("sample", 8), 0, say=lambda line: None, workers=1, **how)


def test_trials_as_they_were_agree_and_the_manifest_says_so(copy: Path) -> None:
    found = run_again(copy)
    assert found.holds and found.count("same") + found.count("close") == 8 and not found.elsewhere
    assert "of 8 sampled trials" in found.sentences[0] and "0 differ" in found.sentences[0]
    found.mark()
    after = opened(copy)
    assert after["kind"] == "verified" and standing(after) == "verified, 8 of 8 agree"
    assert after["verification"]["sampled"] == 8 and after["verification"]["seed"] == 0


def test_a_sample_is_drawn_by_its_seed(copy: Path) -> None:
    def keys(seed: int) -> list[str]:
        found = verify(str(copy), 3, seed, say=lambda line: None, workers=1)
        return sorted(one.record.key for one in found.trials)

    assert len(keys(0)) == 3 and keys(0) == keys(0) and len({tuple(keys(seed)) for seed in range(4)}) > 1


def test_a_better_end_than_the_trial_has_differs(copy: Path) -> None:
    def better(record: Any) -> None:
        if record["problem"] == "mlp_iris" and record["optimizer"] == "adam":
            record["curve"][-1]["loss"] *= 0.5

    rewritten(copy, better)
    found = run_again(copy)
    assert not found.holds and found.count("differs") == 2
    assert all("it ends at" in one.why for one in found.trials if one.outcome == "differs")
    found.mark()
    assert opened(copy)["kind"] == "self-reported" and "2 differ" in standing(opened(copy))


def test_a_trial_under_another_seed_differs(copy: Path) -> None:
    def other(record: Any) -> None:
        record["seed"] += 5

    rewritten(copy, other)
    found = run_again(copy)
    assert found.count("differs") == 8 and "its key is not that of the trial" in found.trials[0].why


def test_problems_that_changed_since_are_not_compared(copy: Path) -> None:
    def changed(facts: Any) -> None:
        facts["problems"]["mlp_iris"]["train"] += 1

    rewritten(copy, lambda record: None, changed)
    found = run_again(copy)
    left = [one for one in found.trials if one.outcome == "not compared"]
    assert len(left) == 4 and all("the problem has changed since" in one.why for one in left) and found.holds


def test_another_torch_makes_a_difference_no_contradiction(copy: Path) -> None:
    def better(record: Any) -> None:
        record["curve"][-1]["loss"] *= 0.5

    def older(facts: Any) -> None:
        facts["versions"]["torch"] = "1.0.0"

    rewritten(copy, better, older)
    found = run_again(copy)
    assert found.count("differs") == 0 and found.count("not compared") == 8 and not found.holds
    assert "torch was 1.0.0" in found.trials[0].why and "Torch was 1.0.0" in " ".join(found.sentences)


def test_code_of_a_stranger_is_not_run_unasked(tmp_path: Path, copy: Path) -> None:
    """A file or a module that a record names is neither read nor imported; a table's names are."""
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n" + PLUGIN)
    records = read_records(copy)[0]
    for name in (f"{tmp_path / 'evil.py'}:Halves", "evil:Halves"):

        def names(record: Any, name: str = name) -> None:
            record["optimizer"] = name

        rewritten(copy, names)
        found = run_again(copy)
        assert found.count("not compared") == len(records) and not (tmp_path / "ran").exists()
    assert "--trust" in found.trials[0].why


def test_a_plugin_that_is_given_is_run(tmp_path: Path) -> None:
    (tmp_path / "halves.py").write_text(PLUGIN)
    plugin = str(tmp_path / "halves.py")
    optbench.run(
        problems=["line_mse"], optimizers=["halves"], seeds=2, passes=5, timing=0, out=tmp_path / "results",
        plugins=[plugin],
    )  # fmt: skip
    add(tmp_path / "results", tmp_path, "mine")
    assert "unknown optimizer 'halves'" in run_again(tmp_path / "mine").trials[0].why
    assert run_again(tmp_path / "mine", plugins=[plugin]).holds


def test_self_reported_and_timed_trials_are_not_run(tmp_path: Path) -> None:
    with optbench.track(tmp_path / "own", "task", "mine", samples=10, passes=3) as one:
        one.step(10)
        one.point(loss=1.0)
    found = add(tmp_path / "own", tmp_path, "mine")
    assert found["marks"] == ["one seed: nothing tells its luck", "1 of 1 trials were counted by their own loop"]
    assert "its own loop counted it" in run_again(tmp_path / "mine").trials[0].why


def test_bad_samples_are_refused(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="--sample 0"):
        run_again(copy, sample=0)
    make(tmp_path / "failed", {"a": Runner(refuses=("p",))}, ["p"])
    add(tmp_path / "failed", tmp_path, "none")
    with pytest.raises(RequestError, match="no trial that ended by itself"):
        run_again(tmp_path / "none")


def record(losses: list[float], status: str = "spent") -> Record:
    curve = [{"passes": float(k), "loss": loss} for k, loss in enumerate(losses)]
    return Record("k", "p", "o", {}, 0, 10.0, "cpu", status, passes=10.0, curve=curve)


@pytest.mark.parametrize(
    ("one", "other", "beyond"),
    [
        ([1.0, 0.5], [1.0, 0.5], ""),
        ([1.0, 0.5], [1.0, 0.51], ""),
        ([1.0, 0.5], [1.0, 0.6], "it ends at"),
        ([1.0, 0.5], [1.001, 0.5], "it starts at"),
        ([1.0, 2e-4], [1.0, 5e-4], ""),
        ([1.0, 2e-4], [1.0, 9e-4], "it ends at"),
        ([1.0, 1e-9], [1.0, 1e-7], ""),
        ([1.0, 0.1, 0.5], [1.0, 0.3, 0.5], "its curve goes down to"),
        ([1.0, 0.5], [1.0, float("nan")], "it ends at"),
    ],
)
def test_the_tolerance_is_the_one_that_is_stated(one: list[float], other: list[float], beyond: str) -> None:
    found = beyond_tolerance(record(one), record(other), 0.0)
    assert found.startswith(beyond) and bool(found) == bool(beyond)


def test_where_training_magnifies_rounding_the_seeds_say_how_far_it_may_go() -> None:
    one, other = record([1.0, 0.5]), record([1.0, 0.6])
    assert beyond_tolerance(one, other, 0.0, [0.4, 0.7]).startswith("it ends at")  # two seeds span nothing
    assert beyond_tolerance(one, other, 0.0, [0.4, 0.5, 0.7]) == ""
    assert beyond_tolerance(one, other, 0.0, [0.45, 0.5, 0.51]).startswith("it ends at")
    assert beyond_tolerance(one, replace(other, own_flops=1000), 0.0, [0.4, 0.5, 0.7]).startswith("it computed 0 oper")


def test_every_determined_field_is_looked_at() -> None:
    base = record([1.0, 0.5])
    assert first_difference(base, record([1.0, 0.5])) == ""
    assert first_difference(base, record([1.0, 0.5 + 1e-9])) == ""
    assert first_difference(base, record([1.0, 0.50001])).startswith("loss")
    others: dict[str, Any] = {"forward": 1, "backward": 1, "evaluations": 2, "flops": 3, "status": "finished"}
    for name, value in others.items():
        assert first_difference(base, replace(base, **{name: value})).startswith(name)
    assert beyond_tolerance(base, record([1.0, 0.5], "diverged"), 0.0).startswith("it is spent")


def test_trials_on_other_splits_of_the_data_are_run_again_on_them(tmp_path: Path) -> None:
    optbench.run(
        problems=["mlp_iris"], optimizers=["adam"], seeds=3, splits=3, passes=5, timing=0, lanes=1, out=tmp_path / "r"
    )  # fmt: skip
    add(tmp_path / "r", tmp_path / "archive", "mine")
    found = run_again(tmp_path / "archive" / "mine")
    assert found.holds and {one.record.split for one in found.trials} == {0, 1, 2}
    assert found.count("same") + found.count("close") == 3

    def elsewhere(record: dict[str, Any]) -> None:
        record["split"] = (record.get("split", 0) + 1) % 3

    rewritten(tmp_path / "archive" / "mine", elsewhere)
    assert run_again(tmp_path / "archive" / "mine").count("differs") == 3  # its key is of another trial
