"""What `optbench.compare` gives: results that say who is better, as text, table, figures and a page."""

from __future__ import annotations

import base64
import html
import io
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from optbench.core.trial import RequestError
from optbench.records.reader import Results, read
from optbench.report.analysis.findings import Findings, findings
from optbench.report.analysis.load import load_study
from optbench.report.analysis.study import TOTAL, Study
from optbench.report.build import View, build_report
from optbench.report.figures import panels
from optbench.report.figures.style import Style, styles
from optbench.report.sentences.verdict import Answer, answers

TARGETS = 3  # columns of cost in the table


class Verdict(str):
    """Sentences, a line each; a notebook shows them as a list."""

    def _repr_markdown_(self) -> str:
        return "\n".join(f"- {line}" for line in self.splitlines())


@dataclass(frozen=True, eq=False)
class Comparison:
    """The trials of one comparison in a result folder. It shows itself in a notebook.

    folder: where the records are; running the same comparison again takes them from there. keys: its trials; None for
    all of the folder. More than ten public methods, for each view is one.
    """

    folder: Path
    keys: frozenset[str] | None = None

    @property
    def verdict(self) -> Verdict:
        """The answer in plain sentences: who is better, how sure that is, and what it rests on."""
        return Verdict("\n".join(text for one in self.answers for text in (one.title, *one.sentences) if text))

    @property
    def answers(self) -> list[Answer]:
        """The same by question: title, sentences, and `more`, what they rest on."""
        return answers(self.findings)

    @property
    def winner(self) -> str | None:
        """Who is better than every other beyond chance; None where the statistics do not say so.

        Over several problems by the pairs, on one by the test over seeds.
        """
        one = self.findings.one_problem
        if one is None:
            return self.findings.ranking.winner
        leader = str(one.cells["label"].iloc[0])
        against = one.against(leader)
        return leader if against and all(p < 0.05 for p in against.values()) else None

    @property
    def problems(self) -> list[str]:
        return self.study.problems

    def trials(self) -> pd.DataFrame:
        """A row a trial: its record, and the last loss and metrics of its curve."""
        last = pd.DataFrame(self.study.last).add_prefix("last_")
        drop = ["last_trial", *(f"last_{name}" for name in ("passes", "forward", "backward", "seconds", "own_flops"))]
        return self.study.trials.join(last.drop(columns=[name for name in drop if name in last]))

    def curves(self) -> pd.DataFrame:
        """A row a scored point, with the problem, label and seed of its trial."""
        who = self.study.trials[["key", "problem", "label", "seed", "status"]]
        return self.study.points.join(who, on="trial").drop(columns="trial")

    def table(self) -> pd.DataFrame:
        """A row an optimizer (and problem, where there are several), best first: medians over seeds.

        Final losses and metrics, the passes to the hardest targets that anybody reached, and how many seeds did.
        """
        found, study = self.findings, self.study
        finals, costs = found.finals, found.costs
        metrics = [name for name in finals if str(name).startswith(("valid_", "test_"))]
        reached = [tau for tau in study.taus if len(costs) and (costs.loc[costs["tau"] == tau, "hits"] > 0).any()]
        rows = []
        for cell in finals.to_dict("records"):
            row = {"problem": cell["problem"], "optimizer": cell["label"], "seeds": cell["trials"]}
            row |= {"failed": cell["no_result"], "loss": cell["loss"], "loss_low": cell["loss_low"]}
            row |= {"loss_high": cell["loss_high"]} | {str(name): cell[name] for name in metrics}
            for tau in reached[-TARGETS:]:
                own = costs[(costs["problem"] == cell["problem"]) & (costs["label"] == cell["label"])]
                own = own[own["tau"] == tau]
                if len(own):
                    row[f"{study.unit}_to_{100 * tau:g}%"] = float(own["passes"].iloc[0])
                    row[f"hits_{100 * tau:g}%"] = f"{int(own['hits'].iloc[0])}/{int(own['trials'].iloc[0])}"
            rows.append(row)
        table = pd.DataFrame(rows)
        if not len(table):
            return table
        table = table.sort_values(["problem", "loss"], kind="stable")
        return table.set_index("optimizer" if len(study.problems) == 1 else ["problem", "optimizer"]).drop(
            columns="problem" if len(study.problems) == 1 else []
        )

    def plot_curves(
        self, ax: Any = None, *, problem: str | None = None, column: str = "loss", axis: str = "passes"
    ) -> Any:
        """Curves of one problem on matplotlib axes, which are returned.

        column: "loss", "valid_loss", "test_accuracy" or another column of the curves. axis: "passes", "seconds",
        "samples" or "flops".
        """
        return panels.curves(ax, self.study, self._styles, self._problem(problem), column, axis)

    def plot_targets(self, ax: Any = None) -> Any:
        """Share of targets that are reached by a cost; returns the axes."""
        return panels.targets(ax, self.study, self._styles)

    def plot_ranks(self, ax: Any = None) -> Any:
        """Mean ranks; returns the axes."""
        return panels.ranks(ax, self.findings, self._styles)

    def plot_sensitivity(self, ax: Any = None, *, problem: str | None = None, setting: str = "lr") -> Any:
        """Final loss against a setting, where optimizers ran with several values of it; returns the axes."""
        return panels.sensitivity(ax, self.findings, self._styles, self._problem(problem), setting)

    def to_html(self, path: str | Path | None = None) -> str:
        """The whole report as one page that opens offline; written to `path` where one is given."""
        with tempfile.TemporaryDirectory(prefix="optbench-") as folder:
            build_report([self._results], Path(folder), View())
            page = (Path(folder) / "report.html").read_text(encoding="utf-8")
        if path is not None:
            Path(path).write_text(page, encoding="utf-8")
        return page

    def __repr__(self) -> str:
        return f"<Comparison of {len(self.study.labels)} optimizers on {', '.join(self.problems)}>\n{self.verdict}"

    def _repr_html_(self) -> str:
        items = "".join(
            f"<p><b>{html.escape(one.title)}</b></p>" * bool(one.title)
            + f"<ul>{''.join(f'<li>{html.escape(text)}</li>' for text in one.sentences)}</ul>"
            for one in self.answers
        )
        table = self.table().to_html(float_format=lambda value: f"{value:.4g}", border=0)
        return f'<div>{items}<div style="overflow-x:auto">{table}</div>{self._picture()}</div>'

    def _picture(self) -> str:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        panels.curves(figure.subplots(), self.study, self._styles, self.problems[0], "loss", "passes")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=90)
        return f'<img alt="loss curves" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'

    @cached_property
    def study(self) -> Study:
        """What every figure and table is computed from, with one entry a tuned optimizer."""
        return self.findings.study

    @cached_property
    def findings(self) -> Findings:
        """Everything that is computed before a word is written."""
        return findings(load_study([self._results], TOTAL))

    @cached_property
    def _results(self) -> Results:
        found = read(self.folder)
        return found if self.keys is None else only(found, self.keys)

    @cached_property
    def _styles(self) -> dict[str, Style]:
        return styles(self.study.labels, self.study.families)

    def _problem(self, name: str | None) -> str:
        if name is None:
            return self.problems[0]
        if name not in self.problems:
            raise RequestError(f"no problem {name!r} here; there are {', '.join(self.problems)}")
        return name


def only(results: Results, keys: Collection[str]) -> Results:
    """Some trials of a folder, as if they were all of it."""
    kept = results.trials["key"].isin(list(keys)).to_numpy()
    rows = kept.nonzero()[0]
    places = dict(zip(rows.tolist(), range(len(rows)), strict=True))
    points = results.points[results.points["trial"].isin(rows)].copy()
    points["trial"] = points["trial"].map(places).astype(int)
    trials = results.trials.iloc[rows].reset_index(drop=True)
    plan = [trial for trial in results.environment.get("plan", []) if trial["key"] in keys]
    names = set(trials["problem"])
    facts = {name: fact for name, fact in results.environment.get("problems", {}).items() if name in names}
    environment = {**results.environment, "plan": plan, "problems": facts}
    return replace(results, trials=trials, points=points.reset_index(drop=True), environment=environment)
