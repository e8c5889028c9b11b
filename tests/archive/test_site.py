"""The pages of an archive: who shares problems stands on one board, nothing is loaded, nothing hostile gets out."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from helpers.synthetic import Runner, make, problem_facts
from scipy import stats

from optbench.archive.boards import boards, scored, size
from optbench.archive.site import write
from optbench.archive.submissions import add
from optbench.cli import main
from optbench.core.trial import RequestError
from optbench.records.reader import read
from optbench.report.analysis.load import load_study

EIGHT = [f"p{k}" for k in range(8)]
HOSTILE = "<script>alert(1)</script>"


class Links(HTMLParser):
    """Every address that a page refers to, and the names of its elements."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Two submissions: one on eight problems, one on three of them."""
    facts = {name: problem_facts(dim=50 if name < "p4" else 5_000, validation=True) for name in EIGHT}
    make(tmp_path / "whole", {"adam": Runner(rate=3.0), "sgd": Runner(rate=2.0)}, facts)
    make(tmp_path / "some", {"mine": Runner(rate=4.0)}, {name: facts[name] for name in ("p0", "p1", "p5")})
    add(tmp_path / "whole", tmp_path / "archive", "whole")
    add(tmp_path / "some", tmp_path / "archive", "some", author=HOSTILE, note="a note")
    return tmp_path / "archive"


def test_a_board_has_those_who_ran_all_of_its_problems(archive: Path) -> None:
    found = boards([scored(archive / name) for name in ("some", "whole")])
    training = {(one.track, one.size, tuple(one.problems)): one.rows for one in found if one.question == "training"}
    whole = training["all tracks", "all sizes", tuple(EIGHT)]
    assert [row.optimizer for row in whole] == ["adam", "sgd"]
    both = training["all tracks", "all sizes", ("p0", "p1", "p5")]
    assert [(row.submission, row.optimizer) for row in both] == [("some", "mine"), ("whole", "adam"), ("whole", "sgd")]
    assert [row.optimizer for row in training["supervised", "up to 100 parameters", ("p0", "p1")]] == [
        "mine",
        "adam",
        "sgd",
    ]
    assert ("supervised", "1,001 to 10,000 parameters", ("p5",)) in training
    assert {one.question for one in found} == {"training", "validation"}


def test_a_score_is_the_trimmed_mean_of_the_trials_scores(archive: Path) -> None:
    study = load_study([read(archive / "whole")])
    rows = (study.trials["label"] == "adam") & study.trials["problem"].isin(["p0", "p1", "p5"])
    wanted = stats.trim_mean(study.score[rows.to_numpy()], 0.25)
    found = boards([scored(archive / name) for name in ("some", "whole")])
    board = next(one for one in found if [*one.problems] == ["p0", "p1", "p5"] and one.question == "training")
    row = next(row for row in board.rows if row.optimizer == "adam")
    assert row.score.estimate == pytest.approx(wanted) and row.score.low <= wanted <= row.score.high
    assert row.seeds == 5 and not np.isnan(row.score.low)


def test_who_does_not_apply_to_all_is_not_on_the_board_and_who_failed_is(tmp_path: Path) -> None:
    runners = {"adam": Runner(), "dp": Runner(refuses=("p1",)), "fails": Runner(fails=range(5))}
    make(tmp_path / "run", runners, ["p0", "p1"])
    add(tmp_path / "run", tmp_path / "archive", "a")
    rows = boards([scored(tmp_path / "archive" / "a")])[0].rows
    assert [(row.optimizer, row.score.estimate > 0) for row in rows] == [("adam", True), ("fails", False)]


def test_problems_of_another_budget_or_data_are_other_problems(tmp_path: Path) -> None:
    for name, budget, best in (("a", 100.0, 0.0), ("b", 50.0, 0.0), ("c", 100.0, 1.0)):
        make(tmp_path / f"run_{name}", {"adam": Runner()}, {"p": problem_facts(best=best)}, budget=budget)
        add(tmp_path / f"run_{name}", tmp_path / "archive", name)
    found = boards([scored(tmp_path / "archive" / name) for name in "abc"])
    assert [len(one.rows) for one in found] == [1, 1, 1]


def test_the_pages_link_each_other_and_load_nothing_from_elsewhere(archive: Path, tmp_path: Path) -> None:
    first = write(archive, tmp_path / "site", reports=True, say=lambda text: None)
    pages = [first, *(tmp_path / "site" / name / "index.html" for name in ("some", "whole"))]
    for page in pages:
        links = Links(page)
        assert "script" not in links.tags
        for link in links.found:
            assert not re.match(r"[a-z]+:|//", link), link
            target = page.parent / link.partition("#")[0] if not link.startswith("#") else page
            assert target.is_file(), link
            if "#" in link:
                assert f'id="{link.partition("#")[2]}"' in target.read_text(encoding="utf-8")
    assert (tmp_path / "site" / "some" / "report" / "report.html").is_file()
    assert HOSTILE not in first.read_text() and "&lt;script&gt;" in first.read_text()
    assert main(["archive", "site", str(archive), "--out", str(tmp_path / "site"), "--no-reports"]) == 0  # again
    assert not (tmp_path / "site" / "some" / "report").exists() and first.is_file()


def test_hostile_names_in_records_stay_text(tmp_path: Path) -> None:
    make(tmp_path / "run", {f'{HOSTILE}" onload="x': Runner()}, [f"../../{HOSTILE}", "q"])
    add(tmp_path / "run", tmp_path / "archive", "x")
    write(tmp_path / "archive", tmp_path / "site", reports=False, say=lambda text: None)
    for page in (tmp_path / "site").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "<script" not in text and 'onload="x' not in text
    assert {path.name for path in tmp_path.iterdir()} == {"run", "archive", "site"}


def test_what_was_changed_stands_on_no_board_and_is_named(archive: Path, tmp_path: Path) -> None:
    (archive / "some" / "suite.toml").write_text("changed")
    told: list[str] = []
    page = write(archive, tmp_path / "site", reports=False, say=told.append).read_text(encoding="utf-8")
    assert len(told) == 1 and "suite.toml was changed" in told[0] and told[0].startswith("some is left out")
    assert "Left out" in page and "mine" not in page and not (tmp_path / "site" / "some").exists()


def test_other_peoples_files_are_not_written_over(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "thesis.tex").write_text("all of it")
    with pytest.raises(RequestError, match="holds other files"):
        write(archive, tmp_path / "site")
    (tmp_path / "none").mkdir()
    with pytest.raises(RequestError, match="has no submissions"):
        write(tmp_path / "none", tmp_path / "out")


def test_sizes_have_words() -> None:
    assert [size(dim) for dim in (1, 100, 101, 10_000, 10_001, None)] == [
        *["up to 100 parameters"] * 2, "101 to 1,000 parameters", "1,001 to 10,000 parameters",
        "more than 10,000 parameters", "unknown size",
    ]  # fmt: skip
