"""Suites, specs and names: what is asked for, and how a bad request is refused."""

from __future__ import annotations

from collections import Counter

import pytest

from optbench.core.trial import RequestError, Trial, spec
from optbench.execution.grouping import timed_tasks
from optbench.execution.plan import plan
from optbench.execution.suite import Suite, builtin, read_suite
from optbench.records.schema import Record, RecordError, read_line
from optbench.registry.catalog import Catalog
from optbench.registry.specs import parse

CATALOG = Catalog()
GOOD = 'problems = ["sphere"]\noptimizers = ["adam"]\n'


def suite(**changes) -> Suite:
    return Suite(**{"name": "t", "problems": ("sphere",), "optimizers": ("adam",), "seeds": 2, **changes})


def test_specs_expand_to_every_combination() -> None:
    assert parse("adam") == [("adam", {})]
    assert parse("adam[lr=0.01,0.1,schedule=cosine]") == [
        ("adam", {"lr": 0.01, "schedule": "cosine"}),
        ("adam", {"lr": 0.1, "schedule": "cosine"}),
    ]
    assert parse("adam[betas=(0.9,0.99),(0.5,0.9)]")[1] == ("adam", {"betas": (0.5, 0.9)})
    assert parse("torch.optim:NAdam[lr=1e-3]") == [("torch.optim:NAdam", {"lr": 0.001})]


@pytest.mark.parametrize("settings", [{"lr": 0.1}, {"betas": (0.9, 0.999), "lr": 1e-05}, {"nesterov": True, "a": None}])
def test_a_spec_reads_back_as_what_it_was_written_from(settings) -> None:
    assert parse(spec("x", settings)) == [("x", settings)]


def test_a_plan_is_the_product_and_names_each_trial_once() -> None:
    trials = plan(suite(problems=("sphere", "line_mse"), optimizers=("adam[lr=0.1,1.0]", "pso", "pso")), CATALOG).trials
    assert len(trials) == 2 * 3 * 2 == len({trial.key for trial in trials})
    assert trials[0].passes == CATALOG.problem("sphere").passes
    assert plan(suite(budgets={"sphere": 7}, passes=9), CATALOG).trials[0].passes == 7


@pytest.mark.parametrize("name", builtin())
def test_built_in_suites_are_sound_and_write_themselves_back(name: str, tmp_path) -> None:
    found = read_suite(name)
    for text in found.problems:
        CATALOG.problem(text)
    assert all(optimizer in CATALOG.optimizers for text in found.optimizers for optimizer, _ in parse(text))
    path = tmp_path / f"{name}.toml"
    path.write_text(found.toml())
    assert read_suite(str(path)) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "seedz = 3\n", r"line 3: unknown key 'seedz', did you mean 'seeds'"),
        (GOOD + 'seeds = "3"\n', r"line 3: seeds is a str, it must be a int"),
        (GOOD + "seeds = true\n", r"line 3: seeds is a bool"),
        (GOOD + 'timing = "3"\n', r"line 3: timing is a str, it must be a int or bool"),
        ('problems = []\noptimizers = ["adam"]\n', r"line 1: problems must list at least one"),
        ('problems = ["sphere", 3]\noptimizers = ["adam"]\n', r"line 1: problems holds 3"),
        ('problems = ["sphere"\noptimizers = ["adam"]\n', r"line 2"),
        (GOOD + "[budgets]\nspere = 3\n", r"line 4: a budget for 'spere'"),
        (GOOD + '[budgets]\nsphere = "3"\n', r"line 4: the budget of 'sphere' is '3'"),
        ("problems = 3\n", r"line 1: problems is a int"),
        (f"problems = {'[' * 3000}{']' * 3000}\n", "tables or lists within each other without end"),
        (GOOD + '[groups]\ng = ["sphere"]\n', r"line 4: the group 'g' must list two problems or more"),
        (GOOD + '[groups]\ng = ["sphere", "ackley"]\n', r"line 4: 'ackley' of the group 'g' is none of the suite's"),
        (GOOD + '[groups]\ng = ["sphere", "sphere"]\n', r"line 4: 'sphere' is in the groups 'g' and 'g'"),
    ],
)
def test_a_wrong_suite_file_is_refused_by_line(text: str, message: str, tmp_path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(RequestError, match=message):
        read_suite(str(path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"problems": ("spere",)}, "unknown problem 'spere', did you mean 'sphere"),
        ({"optimizers": ("addam",)}, "unknown optimizer 'addam', did you mean 'adam"),
        ({"optimizers": ("adam[lrr=1]",)}, "unknown setting 'lrr', did you mean 'lr'"),
        ({"optimizers": ("adam[lr=-1.0]",)}, "Invalid learning rate: -1.0"),
        ({"optimizers": ("adam[schedule=cosin]",)}, "schedule='cosin' is none of"),
        ({"optimizers": ("adam[warmup=2]",)}, "warmup=2"),
        ({"optimizers": ("adam[batch=0]",)}, "batch=0"),
        ({"optimizers": ("nelder_mead[batch=3]",)}, "full batch only"),
        ({"optimizers": ("pso[swarm=0]",)}, "swarm=0"),
        ({"optimizers": ("pso[swarm=ten]",)}, "is not int"),
        ({"optimizers": ("adam[0.1]",)}, "has no key"),
        ({"optimizers": ("adam[lr=0.1",)}, "that does not pair: write NAME"),
        ({"optimizers": ("torch.optim:Addam",)}, "did you mean 'Adam'"),
        ({"optimizers": ("torch.optm:Adam",)}, "cannot import 'torch.optm'"),
        ({"optimizers": ("math:sqrt",)}, "no minimise"),
        ({"optimizers": ("ADAM",)}, "unknown optimizer 'ADAM', did you mean 'adam'"),
        ({"optimizers": ("torch.optim.NAdam",)}, "an import path is written torch.optim:NAdam"),
        ({"optimizers": ("torch.optim:Optimizer",)}, "has no step of its own"),
        ({"optimizers": ("adam[lr=nan]",)}, "lr='nan' is not a number"),
        ({"optimizers": ("adam[lr=1e400]",)}, "lr=inf is not finite"),
        ({"optimizers": ("adam[lr={}]",)}, "lr='{}' is not a number"),
        ({"optimizers": ("adam[betas=3]",)}, "betas=3 is not a tuple like"),
        ({"optimizers": ("adam[amsgrad=yes]",)}, "amsgrad='yes' is not True or False"),
        ({"optimizers": ("adam[batch=True]",)}, "batch=True"),
        ({"problems": ("sphere[dims=3]",)}, "unknown setting 'dims', did you mean 'dim'"),
        ({"seeds": 0}, "seeds = 0"),
        ({"passes": -1.0}, "passes = -1"),
        ({"passes": float("nan")}, "passes = nan"),
        ({"timeout": 0.0}, "timeout = 0"),
    ],
)
def test_a_bad_request_is_refused_with_the_nearest_choice(changes, message: str) -> None:
    with pytest.raises(RequestError, match=message) as refused:
        plan(suite(**changes), CATALOG)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("text", "runs"), [("true", 1), ("false", 0), ("0", 0), ("3", 3)])
def test_a_suite_says_how_many_runs_of_a_cell_are_timed(text: str, runs: int, tmp_path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD + f"timing = {text}\n")
    found = read_suite(str(path))
    assert found.timing == runs and type(found.timing) is int
    path.write_text(found.toml())
    assert read_suite(str(path)).timing == runs


def test_the_first_seeds_of_a_cell_are_timed_and_of_a_tuned_optimizer_those_of_one_setting() -> None:
    asked = suite(problems=("sphere_2d", "line_mse"), optimizers=("adam", "spsa[step=0.1]"), seeds=4, tune=3, timing=3)
    timed = timed_tasks(plan(asked, CATALOG).tasks, asked.timing)
    cells = Counter((task.trial.problem, task.competitor, task.trial.hyper) for task in timed)
    assert len(cells) == 4 and set(cells.values()) == {3}
    assert {task.trial.seed for task in timed} == {0, 1, 2}
    assert timed_tasks(plan(asked, CATALOG).tasks, 0) == []


def test_more_lone_runs_than_seeds_are_refused() -> None:
    with pytest.raises(RequestError, match=r"timing = 3 with 2 seeds: .* 0 \(none\) to 2"):
        plan(suite(seeds=2, timing=3), CATALOG)


PLUGIN = """
from dataclasses import dataclass

@dataclass(frozen=True)
class {cls}:
    {name}
    needs = "value"
    {more}
    def minimise(self, f):
        while True: f.value(f.start(2))
"""


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([("Mine", "name = 'adam'", "")], "the name 'adam' is that of torch.optim:Adam"),
        ([("Mine", "name = 'mine'", ""), ("Other", "name = 'mine'", "")], r"the name 'mine' is that of .*:Mine"),
        ([("Mine", "name = 'my method'", "")], "without blanks"),
        ([("Mine", "name = 3", "")], "name = 3 must be text"),
        ([("Mine", "", "raise SystemExit(4)")], "does not import: SystemExit: 4"),
        ([("Mine", "", "def __post_init__(self): raise RuntimeError('no\\nluck')")], "mine: RuntimeError: no luck"),
        ([("Mine", "", "def __post_init__(self): raise SystemExit(4)")], "mine: SystemExit: 4"),
        ([("Mine", "a: 'Nonsense' = 1", "")], "annotations of Mine: NameError"),
        ([("NotADataclass", "", "")], "unknown optimizer 'mine'"),
    ],
)
def test_plugins_that_cannot_be_used_are_refused_in_one_line(files, message: str, tmp_path) -> None:
    paths = []
    for number, (cls, name, more) in enumerate(files):
        paths.append(tmp_path / f"plugin_{number}.py")
        paths[-1].write_text(PLUGIN.format(cls=cls, name=name, more=more))
    with pytest.raises(RequestError, match=message) as refused:
        plan(suite(optimizers=("mine",)), Catalog(map(str, paths)))
    assert "\n" not in str(refused.value)


def test_a_plugin_given_twice_counts_once_and_is_named_by_its_class(tmp_path) -> None:
    path = tmp_path / "plugin.py"
    path.write_text(PLUGIN.format(cls="NotADataclass", name="", more="") + "\nclass _Hidden(NotADataclass): pass\n")
    catalog = Catalog([str(path), str(path)])
    assert set(catalog.optimizers) - set(CATALOG.optimizers) == {"not_a_dataclass"}
    assert catalog.third_party("sphere", "adam") == ()
    assert [name.partition(":")[2] for name in catalog.third_party("sphere", "not_a_dataclass")] == ["NotADataclass"]
    with pytest.raises(RequestError, match="a folder, not a Python file"):
        Catalog([str(tmp_path)])


def test_the_source_of_a_module_named_by_import_path_is_in_the_fingerprint(tmp_path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "its_own_module.py"
    file.write_text(PLUGIN.format(cls="Mine", name="", more=""))
    before = Catalog().fingerprint("sphere", "its_own_module:Mine")
    file.write_text(PLUGIN.format(cls="Mine", name="", more="") + "# changed\n")
    assert Catalog().fingerprint("sphere", "its_own_module:Mine") != before
    assert CATALOG.fingerprint("sphere", "adam") == CATALOG.fingerprint("sphere", "torch.optim:Adam")


def test_an_unknown_suite_is_refused() -> None:
    with pytest.raises(RequestError, match="unknown suite 'quik', did you mean 'quick'"):
        read_suite("quik")


def test_records_read_back_and_what_is_none_is_refused() -> None:
    trial = Trial("sphere", "adam", (("lr", 0.1),), 3, 10.0)
    record = Record(trial.key, "sphere", "adam", {"lr": 0.1}, 3, 10.0, "cpu", "spent", curve=[{"loss": float("inf")}])
    back = read_line(record.line())
    assert back.key == trial.key and back.label == trial.label == "adam[lr=0.1]"
    assert back.curve[0]["loss"] != back.curve[0]["loss"]  # what is not finite comes back as NaN
    for line in ("{", "[]", "{}", record.line().replace('"spent"', '"great"'), record.line()[:-40]):
        with pytest.raises(RecordError):
            read_line(line)
    with pytest.raises(RecordError, match="version 99"):
        read_line(record.line().replace('"version":1', '"version":99'))
