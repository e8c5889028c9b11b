"""The written report: complete for any folder, safe for any name, the same bytes every time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.pages import unfolded
from helpers.synthetic import Runner, make, problem_facts

from optbench import report
from optbench.cli import main
from optbench.core.trial import RequestError
from optbench.records.reader import read
from optbench.report import export, format
from optbench.report.analysis.findings import findings
from optbench.report.analysis.load import load_study
from optbench.report.analysis.statistics import Interval
from optbench.report.sentences.glance import glance, in_short

TWO = {"a": Runner(), "b": Runner(rate=1.0, fails=(1,))}
NASTY = ["<script>alert(1)</script>", "a$b_{x}&%#^~\\|`*", "../../etc/passwd", '"><img src=x onerror=alert(2)>']
VOID = {"wbr", "meta", "link", "img", "input", "br"}


class Checker(HTMLParser):
    """Collects tags and text, and fails on tags that are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["script"], ["style"]):
            self.text.append(data)


def parsed(page: Path) -> Checker:
    """The page with everything that unfolds."""
    checker = Checker()
    checker.feed(unfolded(page))
    checker.close()
    assert checker.open == []
    return checker


ODD: dict[str, tuple[Mapping[str, Runner], dict[str, Any]]] = {
    "no records": (TWO, {"keep": 0}),
    "interrupted": (TWO, {"keep": 7}),
    "one seed": (TWO, {"seeds": 1}),
    "one optimizer, one problem": ({"a": Runner()}, {"problems": ["p"]}),
    "all failed": ({"a": Runner(fails=range(5)), "b": Runner(refuses=("bowl", "valley"))}, {}),
    "ties everywhere": ({"a": Runner(noise=0.0), "b": Runner(noise=0.0), "c": Runner(noise=0.0)}, {}),
    "no metrics, no environment": (TWO, {"metrics": False, "environment": False}),
}


@pytest.mark.parametrize("case", ODD)
def test_any_folder_has_a_report(tmp_path: Path, case: str) -> None:
    runners, kwargs = ODD[case]
    make(tmp_path, runners, **{"points": 8} | kwargs)
    written = report.write([tmp_path])
    assert written.verdict
    page = parsed(written.html)
    text = " ".join(page.text)
    for sentence in written.verdict:
        assert sentence in text
    for heading in ("Leaderboard", "Curves", "Cost to target", "Speed and memory", "Statuses"):
        assert heading in text
    assert (tmp_path / "report.md").read_text(encoding="utf-8").startswith("# ")
    trials = pd.read_csv(tmp_path / "tables" / "trials.csv")
    assert len(trials) == len(runners) * kwargs.get("seeds", 5) * len(kwargs.get("problems", "ab"))
    assert "nan" not in " ".join(page.text).lower().replace("finance", "").split()


def test_a_folder_with_nothing_but_a_suite(tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_text("")
    written = report.write([tmp_path])
    assert written.verdict == ["There are no records and no plan: nothing has been measured yet."]
    parsed(written.html)


def test_no_folder_is_refused() -> None:
    with pytest.raises(RequestError, match="needs a result folder"):
        report.write([])


def test_the_page_needs_nothing_from_outside(tmp_path: Path) -> None:
    make(tmp_path, TWO, ["p"], points=8)
    written = report.write([tmp_path])
    page = parsed(written.html)
    for tag, attributes in page.tags:
        for name in ("src", "href"):
            value = attributes.get(name) or "#"
            assert value.startswith(("data:", "#")), (tag, value)
    assert sum(tag == "script" for tag, _ in page.tags) == 1  # the page's own
    assert written.html.stat().st_size < 200_000


def test_every_view_is_exported_for_papers_and_programs(tmp_path: Path) -> None:
    settings = {f"sgd{k}": Runner(name="sgd", hyper={"lr": 10.0**-k}, rate=1.0 + k) for k in range(3)}
    make(tmp_path, settings, points=8)
    report.write([tmp_path])
    assert not (tmp_path / "figures").exists()
    report.draw([tmp_path], ["all"])
    views = [
        "scores",
        "summary",
        "ranks",
        "curves_passes",
        "curves_seconds",
        "targets",
        "gaps",
        "throughput",
        "best_of_k",
        "score_by_cost",
        "rates",
    ]
    for name in views:
        for kind in ("svg", "pdf", "png"):
            assert (tmp_path / "figures" / f"{name}.{kind}").stat().st_size > 1000, name
    for name in ("summary", "costs_1", "finals_2", "pairs", "tuning", "speeds"):
        assert "\\toprule" in (tmp_path / "tables" / f"{name}.tex").read_text()
        assert (tmp_path / "tables" / f"{name}.md").read_text().startswith("| ")
    for name in ("costs", "finals", "pairs", "speeds", "statuses", "trials", "best_of_k"):
        assert len(pd.read_csv(tmp_path / "tables" / f"{name}.csv")) > 0


def test_tidy_data_holds_every_point_with_cocos_and_benchopts_columns(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    records = make(tmp_path, TWO, points=8)
    report.write([tmp_path])
    points = pd.read_parquet(tmp_path / "tables" / "points.parquet")
    assert len(points) == sum(len(record.curve) for record in records)
    mine = points[points["key"] == records[0].key]
    losses = [point["loss"] for point in records[0].curve]
    assert mine["f_minus_fopt"].tolist() == pytest.approx(losses)  # the best loss is 0 here
    assert mine["best_f_minus_fopt"].tolist() == pytest.approx([min(losses[: k + 1]) for k in range(len(losses))])
    benchopt = pd.read_parquet(tmp_path / "tables" / "benchopt.parquet")
    assert list(benchopt) == ["data_name", "solver_name", "idx_rep", "stop_val", "time", "objective_value"]
    assert benchopt["objective_value"].equals(points["loss"].rename("objective_value"))


def test_tidy_data_in_parts_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    runners = {"a": Runner(), "b": Runner(refuses=["p0"], fails=(1,))}  # a part may be without points
    for name, at_once in (("whole", 10**6), ("parts", 3)):
        monkeypatch.setattr(export, "TRIALS_AT_ONCE", at_once)
        make(tmp_path / name / "run", runners, ["p0", "p1"], points=5)
        report.write([tmp_path / name / "run"])
    for table in ("trials", "points", "benchopt"):
        whole, parts = (
            pd.read_parquet(tmp_path / one / "run/tables" / f"{table}.parquet") for one in ("whole", "parts")
        )
        pd.testing.assert_frame_equal(whole, parts)
    assert len(whole) > 60


def test_without_pyarrow_the_report_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, TWO, ["p"], points=8)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    text = " ".join(parsed(report.write([tmp_path]).html).text)
    assert "pip install pyarrow" in text
    assert not (tmp_path / "tables" / "points.parquet").exists()


def test_names_are_text_everywhere(tmp_path: Path) -> None:
    """HTML, LaTeX, Markdown and path characters in names of optimizers, problems, reasons and the suite."""
    folder = tmp_path / "in" / "deep"
    runners = {name: Runner(rate=1.0 + k, fails=(0,)) for k, name in enumerate(NASTY)}
    records = make(folder, runners, [f"{name}?" for name in NASTY[:2]], seeds=2, points=6)
    for record in records:
        record.error = record.error and f"{NASTY[0]} {NASTY[3]}"
    (folder / "records.jsonl").write_text("".join(record.line() + "\n" for record in records))
    written = report.write([folder])
    page = parsed(written.html)
    text = "".join(page.text)
    for name in NASTY:
        assert name in text
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert not any(tag == "img" for tag, _ in page.tags)
    outside = {path.name for path in tmp_path.iterdir()} | {path.name for path in folder.parent.iterdir()}
    assert outside == {"in", "deep"}
    tex = (folder / "tables" / "summary.tex").read_text(encoding="utf-8")
    assert r"a\$b\_\{x\}\&\%\#\textasciicircum{}\textasciitilde{}\textbackslash{}|`*" in tex
    bare = re.sub(r"\\[a-zA-Z]+(\{\})?|\\[&%$#_{}\\]", "", tex.split(r"\midrule")[1].split(r"\bottomrule")[0])
    assert not set(bare) & set("$#%_^~\\")
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    assert "<script>" not in markdown.replace(r"\<script\>", "")


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    make(tmp_path / "r", TWO, ["p"], points=8)

    def digests(out: Path) -> dict[str, str]:
        report.write([tmp_path / "r"], out)
        files = [path for path in out.rglob("*") if path.is_file()]
        return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_a_figure_is_drawn_by_its_name_alone(tmp_path: Path) -> None:
    make(tmp_path, TWO, points=8)
    drawn = report.draw([tmp_path], ["scores", "curves_passes"], style="talk")
    assert {path.name for path in drawn} == {f"{n}.{k}" for n in ("scores", "curves_passes") for k in export.FORMATS}
    assert not (tmp_path / "report.html").exists()
    with pytest.raises(RequestError, match="no figure 'score'; did you mean 'scores'"):
        report.draw([tmp_path], ["score"])
    with pytest.raises(RequestError, match="no style 'poster' of figures; there are paper and talk"):
        report.draw([tmp_path], ["scores"], style="poster")


def test_what_is_drawn_stays_when_the_report_is_written_again(tmp_path: Path) -> None:
    make(tmp_path, TWO, points=8)
    report.draw([tmp_path], ["scores"])
    report.write([tmp_path])
    assert (tmp_path / "figures" / "scores.png").exists()


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (38.04, "38.0"), (0.01234, "0.0123"), (1234.0, "1234"), (1.5e-7, "1.50e-07"), (-2.0, "\u22122.00")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert format.number(value) == text


def test_an_interval_below_90_percent_reads_as_a_range() -> None:
    assert format.between(Interval(2.0, 1.0, 3.0, 0.95)) == "2.00 [1.00, 3.00]"
    assert format.between(Interval(2.0, 1.0, 3.0, 0.5)) == "2.00 (1.00 to 3.00)"
    assert format.between(Interval(2.0, 2.0, 2.0, 0.0)) == "2.00"
    assert format.between(Interval(float("inf"), 3.0, float("inf"), 0.95)) == "never [3.00, never]"


def test_markdown_cells_cannot_break_out() -> None:
    assert export.md("a|b<c>\n`d`") == r"a\|b\<c\> \`d\`"


def test_problems_with_targets_of_their_own_are_pointed_out(tmp_path: Path) -> None:
    facts = {name: problem_facts() for name in ("p0", "p1")}
    make(tmp_path / "even", {"a": Runner(), "b": Runner()}, facts)
    assert "Problems state different targets" not in unfolded(report.write([tmp_path / "even"]).html)
    facts["p1"]["targets"] = {"0.5": 1.0}
    make(tmp_path / "uneven", {"a": Runner(), "b": Runner()}, facts)
    assert "Problems state different targets" in report.write([tmp_path / "uneven"]).html.read_text()
    assert "Problems state different targets" in (tmp_path / "uneven" / "report.md").read_text()


def test_the_command_draws_a_figure_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path, TWO, points=8)
    assert main(["report", str(tmp_path), "--figure", "scores", "--style", "talk"]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "figures" / f"scores.{kind}") for kind in export.FORMATS]
    assert not (tmp_path / "report.html").exists()
    assert main(["report", str(tmp_path), "--figure", "score"]) == 2
    assert "did you mean 'scores'" in capsys.readouterr().err


def test_the_answer_is_short_and_in_plain_words(tmp_path: Path) -> None:
    runners = {name: Runner(rate=4.0 - k, fails=(0,) if k else ()) for k, name in enumerate("abc")}
    make(tmp_path / "many", runners, {f"p{k}": problem_facts(validation=True) for k in range(7)}, seeds=10)
    make(tmp_path / "one", runners, {"p": problem_facts()}, seeds=10)
    make(tmp_path / "two", runners, {f"p{k}": problem_facts() for k in range(2)}, seeds=10)
    heads = {"many": "a wins on 7 problems.", "one": "On p, a reaches the 1 % target first."}
    heads["two"] = "a has the highest score on 2 problems, too few for a claim about others."
    for name, head in heads.items():
        found = glance(findings(load_study([read(tmp_path / name)])))
        assert found.headline == head
        assert len(found.sentences) <= 6 and 1 <= len(found.numbers) <= 3 and not found.warnings
        for _, text in found.sentences:
            assert "(" not in text and text.endswith(".") and len(text) < 150
        lines = in_short(findings(load_study([read(tmp_path / name)])), 12)
        assert lines[0] == head and lines[-1] == "The evidence: 12 sentences in report.md"
        assert lines[1:-1] == [f"{word}: {text}" for word, text in found.sentences]
    incomplete = tmp_path / "cut"
    make(incomplete, runners, {"p": problem_facts()}, keep=12)
    found = glance(findings(load_study([read(incomplete)])))
    assert "3 of 15 planned trials left no record" in found.warnings[0]


def test_a_terminal_names_every_cell_that_got_worse_and_a_lucky_seed(tmp_path: Path) -> None:
    problems = {f"p{k}": problem_facts() for k in range(3)}
    for name, rate in {"old": 4.0, "new": 1.0}.items():
        make(tmp_path / name, {"a": Runner(rate=rate), "b": Runner(rate=3.0)}, problems, seeds=10)
    lines = in_short(findings(load_study([read(tmp_path / name) for name in ("old", "new")])), 30)
    assert lines[1].startswith("Changes: new against old: of 6 common cells, 3 got worse")
    assert sum(line.startswith("Regression: a on p") for line in lines) == 3
    runners = {f"g{k}": Runner(hyper={"lr": k}, rate=k, name="g") for k in (1, 2)} | {"b": Runner()}
    make(tmp_path / "one", runners, problems, seeds=1, tuned={"g": ["g1", "g2"]})
    lines = in_short(findings(load_study([read(tmp_path / "one")])), 30)
    assert any(line.startswith("Seeds: One seed chose the settings") for line in lines)
