"""The tour as a book: its command, and the same topics as notebooks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optbench.cli import main
from optbench.core.trial import RequestError
from optbench.tour import notebook
from optbench.tour.book import one_thread, write
from optbench.tour.topic import topic
from optbench.tour.topics import TOPICS


def executed(name: str, tmp_path: Path, arguments: dict[str, Any]) -> Any:
    """The notebook of a topic after all its cells have run."""
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed (optbench[test] has it)")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed (optbench[test] has it)")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed (optbench[test] has it)")
    book = nbformat.reads(notebook.text(name, topic(name), arguments), as_version=4)
    nbformat.validate(book)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(book, timeout=300, kernel_name="python3", resources=resources).execute()
    return book


def looked_at(book: Any) -> None:
    """Its last output is the moving page, and an image that is not blank."""
    import base64
    import io

    from PIL import Image

    shown = [cell for cell in book.cells if cell.cell_type == "code"][-1].outputs[-1].data
    assert "srcdoc=" in shown["text/html"] and "id=&quot;picture&quot;" in shown["text/html"]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown["image/png"]))).convert("L"))
    assert pixels.shape[1] > 600 and pixels.std() > 10


def test_a_notebook_runs_and_shows_the_picture(tmp_path: Path) -> None:
    looked_at(executed("chain_rule", tmp_path, {"passes": 6.0}))


@pytest.mark.campaign
@pytest.mark.parametrize("name", TOPICS)
def test_every_notebook_runs_and_shows_its_picture(name: str, tmp_path: Path) -> None:
    looked_at(executed(name, tmp_path, dict(topic(name).quick)))


def test_notebooks_are_the_pages_in_other_clothes(tmp_path: Path) -> None:
    assert main(["tour", "--notebooks", "--out", str(tmp_path)]) == 0
    files = sorted(path.stem for path in (tmp_path / "notebooks").glob("*.ipynb"))
    assert files == sorted(TOPICS)
    cells = json.loads((tmp_path / "notebooks" / "losses.ipynb").read_text(encoding="utf-8"))["cells"]
    assert cells[1]["source"] == topic("losses").code()
    assert topic("losses").question in cells[0]["source"] and topic("losses").exercise in cells[-1]["source"]


def test_an_unknown_topic_in_a_notebook_is_named() -> None:
    with pytest.raises(RequestError, match="did you mean 'losses'"):
        notebook.show("loses", None)


def test_the_command_writes_pages_beside_those_that_are_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "new" / "book"
    write(out, ["batches"], "first", lambda line: None, quick=True)
    with one_thread():
        quick = topic("chain_rule").data(**topic("chain_rule").quick)
    monkeypatch.setattr(type(topic("chain_rule")), "data", lambda self, **_: quick)
    assert main(["tour", "--topic", "chain_rule", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert str(out / "index.html") in printed.out and "chain_rule.html" in printed.err
    index = (out / "index.html").read_text(encoding="utf-8")
    links = re.findall(r'href="(\w+\.html)"', index)
    assert links == ["chain_rule.html", "batches.html"]
    for link in links:
        for other in re.findall(r'href="(\w+\.html)"', (out / link).read_text(encoding="utf-8")):
            assert (out / other).is_file()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--topic", "learning_rate"], "unknown topic 'learning_rate', did you mean 'learning_rates'?"),
        (["--topic", "cooking"], "unknown topic 'cooking', there are four_ways, chain_rule"),
        (["--topic", "batches", "--out", "taken"], "cannot write taken: "),
        (["--notebooks", "--topic", "batchs"], "unknown topic 'batchs', did you mean 'batches'?"),
        (["--topics", "batches"], "did you mean"),
    ],
)
def test_what_cannot_be_written_is_refused_in_one_line(
    given: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    assert main(["tour", *given]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
