"""Every hostile plugin beside honest optimizers: it may cost its own trials and nothing else."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from optbench.testing.faults.ending import failures_of
from optbench.testing.faults.hostile import AFTERWARDS, FOLDER, HONEST, NAME, PLUGINS, Hostile, write
from optbench.testing.faults.launch import Launcher
from optbench.testing.faults.outcome import Outcome, as_they_end
from optbench.testing.faults.verify import check_folder, check_records, differences, parse, read_records, whole_lines

SUITE = """description = "a hostile plugin beside honest optimizers"
problems = ["mlp_iris"]
optimizers = ["adam", "pso", "sgd", "hostile"]
seeds = 3
passes = 30
timeout = 30
memory = 1.5
"""
DEADLINE = 420.0  # seconds that a run may take; three trials may have to time out
IMPORT_DEADLINE = 240.0  # of a plugin that never comes back from its import


class HostileCampaign:
    """Runs each plugin once, in a scratch folder."""

    def __init__(self, work: Path, launcher: Launcher) -> None:
        self._work, self._launcher = work, launcher
        self._suite = work / "beside.toml"
        self._suite.write_text(SUITE, encoding="utf-8")
        code, wrong, folder, _ = self._one("honest", HONEST)
        if code != 0 or wrong:
            raise RuntimeError(f"a run with an honest plugin is not well: {'; '.join(wrong) or code}")
        self._clean = read_records(folder)

    def run(self, names: Sequence[str], jobs: int) -> Iterator[Outcome]:
        """The outcome of each plugin as its run ends; `jobs` runs are under way at a time."""
        return as_they_end([partial(self._outcome, name) for name in names], jobs)

    def _outcome(self, name: str) -> Outcome:
        plugin = PLUGINS[name]
        code, wrong, folder, seconds = self._one(name, plugin)
        outcome = Outcome(name, list(PLUGINS).index(name), True, seconds, f"exit code {code}", wrong)
        lines = whole_lines(folder)
        if code == 2 and plugin.refusable and not lines:
            return outcome
        others = {key: record for key, record in self._clean.items() if record["optimizer"] != NAME}
        own = {key: record for key, record in self._clean.items() if record["optimizer"] == NAME}
        mine = [record for line in lines if (record := parse(line)) and record["key"] in own]
        rest = [line for line in lines if not ((record := parse(line)) and record["key"] in own)]
        outcome.failures += check_records(rest, {1: others})
        outcome.failures += _own(mine, own, plugin, name in AFTERWARDS)
        outcome.failures += check_folder(folder)
        shutil.rmtree(folder.parent, ignore_errors=True)
        return outcome

    def _one(self, name: str, plugin: Hostile) -> tuple[int | None, list[str], Path, float]:
        """Run one plugin: (exit code, what is wrong with the ending, results folder, seconds)."""
        logs = self._work / name
        logs.mkdir()
        folder, file = logs / "out", write(logs, name, plugin)
        command = ["run", str(self._suite), "--out", str(folder), "--plugin", str(file), "--lanes", "2"]
        began = time.monotonic()
        run = self._launcher.start([*command, "--workers", "2"], logs, environment={FOLDER: str(folder)})
        code = run.wait(IMPORT_DEADLINE if plugin.refusable else DEADLINE)
        seconds = time.monotonic() - began
        return code, failures_of(run, code, {0, 2} if plugin.refusable else {0}), folder, seconds


def _own(
    found: Sequence[dict[str, Any]], clean: dict[str, dict[str, Any]], plugin: Hostile, honestly: bool
) -> list[str]:
    """What is wrong with the plugin's own records; honestly: they must be those of the honest plugin."""
    wrong = []
    keys = [record["key"] for record in found]
    if sorted(keys) != sorted(clean):
        wrong.append(f"{len(keys)} records of its own {len(clean)} trials")
    odd = [record for record in found if record.get("status") not in plugin.statuses]
    if odd:
        error = f"{odd[0].get('status')}, {odd[0].get('error')}"
        wrong.append(f"its trials may be {' or '.join(sorted(plugin.statuses))}, {len(odd)} are not: {error}")
    if honestly:
        for record in found:
            if different := differences(clean[record["key"]], record, {"fingerprint"}):
                wrong.append(f"what it left reached its own seed {record['seed']}: {', '.join(different[:2])}")
                break
    return wrong
