"""The tour: each page's textbook fact holds in the data that it shows, and its page works in a browser.

The data come from the code that the page shows, run as it stands. Quick studies here; the whole tour is a campaign.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from optbench.cli import main, parser
from optbench.core.trial import RequestError
from optbench.tour import notebook
from optbench.tour.book import one_thread, write
from optbench.tour.page import keys, page
from optbench.tour.picture import Frames, Picture, at, image, plain
from optbench.tour.still import thumbnail
from optbench.tour.topic import MAX_LINES, topic
from optbench.tour.topics import TOPICS
from optbench.tour.topics.batches import shaking
from optbench.tour.topics.brain import importance, saliency
from optbench.tour.topics.chain_rule import by_hand
from optbench.tour.topics.losses import lines
from optbench.tour.topics.overfitting import gap
from optbench.tour.topics.supervised import accuracies


@cache
def studied(name: str) -> Any:
    """What the code of a page leaves, in its quick form."""
    with one_thread():
        return topic(name).data(**topic(name).quick)


@cache
def drawn(name: str) -> Picture:
    return topic(name).draw(studied(name))


def four_ways(runs: Any) -> None:
    """The proved optimum is the stated one, below every other method; the others improve on their start."""
    *searches, exact = [run.losses() for run in runs]
    assert exact[-1] == pytest.approx(runs[-1].problem.best.value, rel=1e-9)
    for losses in searches:
        assert exact[-1] <= min(losses) < losses[0]


def chain_rule(sample: Any) -> None:
    """The numbers that flow back are autograd's, and the two trainings are one."""
    ours = by_hand(sample)
    for name, parameter in zip("wbvc", sample["net"].parameters(), strict=True):
        assert ours[name] == pytest.approx(parameter.grad.flatten().tolist(), rel=1e-12)
    hand, auto = sample["runs"]
    assert all(torch.allclose(a, b, atol=1e-9) for a, b in zip(hand.points, auto.points, strict=True))
    assert hand.losses()[-1] < hand.losses()[0] / 3


def losses(fits: Any) -> None:
    """An outlier moves the line of the squared error, not that of the absolute one; far samples move the border of the
    squared error more than that of cross-entropy, which is right on all of them."""
    straight, borders = lines(fits)
    squared, absolute = (abs(straight[-1, i, 1] - straight[0, i, 1]) for i in range(2))
    assert squared > 0.3 and absolute < 0.1
    turned = [np.unwrap(np.arctan2(borders[[0, -1], i, 1], borders[[0, -1], i, 0])) for i in range(2)]
    assert abs(turned[0][1] - turned[0][0]) > 2 * abs(turned[1][1] - turned[1][0])
    x, y = fits[-1][3].problem.data().train
    weights = torch.as_tensor(borders[-1], dtype=x.dtype)
    wrong = [int(((x @ one[:2] + one[2] > 0).float() != y.flatten()).sum()) for one in weights]
    assert wrong[1] == 0 <= wrong[0]


def learning_rates(runs: Any) -> None:
    """Too small crawls, too large diverges, a schedule shakes less at the end, a warm-up begins with small steps."""
    small, right, large, scheduled, warmed = runs
    assert large.status == "diverged" or large.losses()[-1] > 10 * large.losses()[0]
    assert small.losses()[-1] > 1.5 * right.losses()[-1]
    assert shaking(scheduled) < shaking(right)
    begun = [next(k for k, cost in enumerate(run.costs) if cost > run.costs[-1] / 10) for run in (scheduled, warmed)]
    moved = [float((run.points[k] - run.points[0]).norm()) for run, k in zip((scheduled, warmed), begun, strict=True)]
    assert moved[1] < moved[0]


def batches(runs: Any) -> None:
    """The smaller the batch, the more the weights shake; the smallest is down before all samples are."""
    assert sorted((shaking(run) for run in runs), reverse=True) == [shaking(run) for run in runs]
    start, end = runs[-1].losses()[0], runs[-1].losses()[-1]

    def down(run: Any) -> float:
        return next(cost for cost, loss in zip(run.costs, run.losses(), strict=True) if loss < end + (start - end) / 4)

    assert down(runs[0]) < down(runs[-1])


def overfitting(runs: Any) -> None:
    """The test loss rises again without dropout; dropout narrows the gap between training and test."""
    assert runs[0].losses("test")[-1] > 1.2 * min(runs[0].losses("test"))
    assert gap(runs[1]) < 0.6 * gap(runs[0])
    assert runs[1].losses("test")[-1] < runs[0].losses("test")[-1]


def width(grid: Any) -> None:
    """The error falls with the width, whatever the depth; a few units in two layers are closer than as many in one."""
    widths = sorted({width for _, width in grid})
    for depth in (1, 2):
        errors = [grid[depth, width].losses()[-1] for width in widths]
        assert errors == sorted(errors, reverse=True) and errors[-1] < errors[0] / 20
    assert grid[2, 4].losses()[-1] < grid[1, 4].losses()[-1]


def convolution(seen: Any) -> None:
    """A map is the filter's inner product with every patch; pooling keeps the largest of every 2 x 2."""
    net = seen["run"].network()
    patches = F.pad(seen["pictures"], (1, 1, 1, 1)).unfold(1, 3, 1).unfold(2, 3, 1)
    answers = torch.einsum("nhwij,cij->nchw", patches, seen["filters"][:, 0]) + net[1].bias[:, None, None]
    assert torch.allclose(seen["maps"], answers.clamp(min=0), atol=1e-5)
    maps = seen["maps"].numpy()
    assert np.array_equal(seen["pooled"].numpy(), maps.reshape(*maps.shape[:2], 4, 2, 4, 2).max((3, 5)))
    accuracy = seen["run"].problem.metrics(net, seen["run"].problem.data().test)["accuracy"]
    assert accuracy > 0.85 and torch.allclose(seen["chances"].sum(1), torch.ones(10))


def supervised(run: Any) -> None:
    """From guessing to nearly all right, on data that was never trained on."""
    right = accuracies(run, "test")
    assert right[0] < 0.75 and right[-1] > 0.92
    assert accuracies(run, "train")[-1] >= right[-1] - 0.03


def unsupervised(found: Any) -> None:
    """Two numbers rebuild better than the mean picture does, and neighbours in their plane are of one kind."""
    run, x = found["run"], found["pictures"]
    mean = run.problem.data().train[0].mean(0)
    assert run.losses("test")[-1] < 0.5 * float((x - mean).square().mean())
    away = torch.cdist(found["codes"][-1], found["codes"][-1]).fill_diagonal_(torch.inf)
    same = (found["labels"][away.argmin(1)] == found["labels"]).double().mean()
    assert same > 0.4  # by chance 0.1


def reinforcement(played: Any) -> None:
    """The pole stays up longer and the pendulum costs less than before, in episodes that are new."""
    before, after = (played["pole"][k][2].sum(0).mean() for k in (1, 2))
    assert after > 2.5 * before
    before, after = (-played["arm"][k][2].sum(0).mean() for k in (1, 2))
    assert after < 0.75 * before


def brain(found: Any) -> None:
    """Answers follow the severity, the network looks inside the head, and the markers are the known ones."""
    truth, answers = found["severity"].flatten().numpy(), found["answers"].flatten().numpy()
    assert np.corrcoef(truth, answers)[0, 1] > 0.7
    assert np.abs(answers - truth).mean() < 0.8 * np.abs(truth - truth.mean()).mean()
    looked = saliency(found, 0.8)
    middle = looked[8:24, 8:24].mean()
    assert middle > 3 * (looked.sum() - looked[8:24, 8:24].sum()) / (looked.size - 256)
    assert {name for name, _ in importance(found)[:4]} & {"tau", "p tau", "Ab 42"}


def sizes(rows: Any) -> None:
    """At the largest size the gradient is far below the searches, and its lead grew with the size."""
    ends = [{run.label: min(run.losses()) for run in row} for row in rows]
    for search in ("pso", "aco_r"):
        assert ends[-1]["adam"] < 0.1 * ends[-1][search]
        assert ends[-1][search] / ends[-1]["adam"] > ends[0][search] / ends[0]["adam"]
        assert ends[0][search] < ends[0]["random_search"]


def lanes(rates: Any) -> None:
    """Many trials as one program are more a second."""
    widths = sorted(lanes for device, lanes in rates if device == "cpu")
    assert rates["cpu", widths[-1]] > 1.5 * rates["cpu", widths[0]]


FACTS: dict[str, Callable[[Any], None]] = {
    fact.__name__: fact
    for fact in (
        four_ways,
        chain_rule,
        losses,
        learning_rates,
        batches,
        overfitting,
        width,
        convolution,
        supervised,
        unsupervised,
        reinforcement,
        brain,
        sizes,
        lanes,
    )
}


@pytest.mark.parametrize("name", TOPICS)
def test_what_a_textbook_says_holds_in_the_data_of_the_page(name: str) -> None:
    FACTS[name](studied(name))


@pytest.mark.campaign
@pytest.mark.parametrize("name", TOPICS)
def test_it_holds_in_the_whole_study_too(name: str) -> None:
    with one_thread():
        data = topic(name).data()
    FACTS[name](data)
    assert topic(name).draw(data).caption


@pytest.mark.parametrize("name", TOPICS)
def test_a_page_has_a_question_three_sentences_ten_lines_and_an_exercise(name: str) -> None:
    one = topic(name)
    assert one.question.endswith("?") and len(one.says) == 3 and all(said.endswith(".") for said in one.says)
    assert one.exercise
    code = [line for line in one.code().splitlines() if line]
    assert len(code) <= MAX_LINES and max(map(len, code)) <= 120
    parser().parse_args(["tour", "--topic", name])


@pytest.mark.parametrize("name", TOPICS)
def test_a_picture_has_a_frame_for_every_place_and_words_for_who_sees_none(name: str) -> None:
    picture = drawn(name)
    places = len(picture.control.values)
    assert places > 2 and picture.caption and 0 <= picture.control.start < places

    def frames(value: Any) -> Iterator[int]:
        if isinstance(value, dict):
            if "frames" in value:
                yield len(value["frames"])
            for one in value.values():
                yield from frames(one)
        elif isinstance(value, list):
            for one in value:
                yield from frames(one)

    counted = set(frames(picture.data()["panels"]))
    assert counted == {places}, counted
    for panel in picture.panels:
        assert panel.says and panel.title


@pytest.mark.parametrize("name", TOPICS)
def test_a_page_is_one_file_that_asks_nobody(name: str) -> None:
    one = topic(name)
    text = page(name, one, drawn(name), one.code())
    found = re.search(r'<script type="application/json" id="picture">(.*?)</script>', text, re.S)
    assert found and len(json.loads(found.group(1))["panels"]) == len(drawn(name).panels)
    assert not re.findall(r'(?:src|href)="(?!data:|index\.html")', text)
    assert len(text) < 1_000_000
    picture = thumbnail(drawn(name))
    assert picture[8:12] == b"WEBP" and 1_000 < len(picture) < 60_000


def test_the_code_of_a_page_is_what_ran() -> None:
    """Bug it would catch: a page shows other lines, or other numbers, than those that made its picture."""
    one = topic("chain_rule")
    assert "passes = 7.0" in one.code(passes=7.0)
    namespace: dict[str, Any] = {}
    exec(one.code(passes=7.0), namespace)
    again = one.draw(namespace[one.result]).data()
    assert again == one.draw(one.data(passes=7.0)).data() != one.draw(one.data(passes=9.0)).data()


def test_numbers_are_short_and_what_is_not_finite_is_null() -> None:
    assert plain(Frames([[1 / 3, float("inf")], np.array([1, 2])])) == {"frames": [[0.3333, None], [1, 2]]}
    assert plain((torch.tensor([2.0]), "x", None)) == [[2.0], "x", None]


def test_a_place_beyond_the_last_frame_shows_the_last() -> None:
    assert [at({"frames": [1, 2]}, k) for k in (0, 1, 5)] == [1, 2, 2] and at([3], 1) == [3]


def test_an_image_is_its_numbers_as_levels() -> None:
    import base64

    layer = image([[0.0, 1.0], [2.0, 9.0]], (0, 1, 0, 1), (0.0, 2.0))
    assert list(base64.b64decode(layer["pixels"])) == [0, 127, 255, 255]


def test_a_legend_names_every_label_once() -> None:
    names = [key["label"] for key in keys(drawn("four_ways").panels[0])]
    assert len(names) == len(set(names)) == 5


def test_the_command_writes_pages_beside_those_that_are_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "new" / "book"
    write(out, ["batches"], "first", lambda line: None, quick=True)
    monkeypatch.setattr(type(topic("chain_rule")), "data", lambda self, **_: studied("chain_rule"))
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


def test_an_unknown_topic_in_a_notebook_is_named() -> None:
    with pytest.raises(RequestError, match="did you mean 'losses'"):
        notebook.show("loses", None)


# notebooks


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


# the pages in a browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
SCREENS = {"phone": (390, 844), "laptop": (1366, 900)}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (optbench[test] has it)")
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no chromium and chromedriver (Debian: chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"):
        options.add_argument(flag)
    options.add_argument("--disable-dev-shm-usage")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    try:
        yield driver
    finally:
        driver.quit()


def opened(browser: Any, file: Path, screen: str, still: bool) -> None:
    """A page from disk, at the size of a phone or a laptop; still: its reader asks for less motion."""
    wide, high = SCREENS[screen]
    size = {"width": wide, "height": high, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    asked = [{"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": asked})
    browser.get(file.as_uri())
    errors = [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    assert not errors


def pixels(browser: Any) -> list[str]:
    return list(browser.execute_script("return [...document.querySelectorAll('canvas')].map((c) => c.toDataURL())"))


@pytest.mark.parametrize("name", TOPICS)
def test_a_page_works_on_phone_and_laptop_by_keyboard_alone(name: str, browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    one = topic(name)
    file = tmp_path / f"{name}.html"
    file.write_text(page(name, one, drawn(name), one.code()), encoding="utf-8")
    for screen in SCREENS:
        opened(browser, file, screen, still=True)
        assert browser.execute_script("return document.documentElement.dataset.ready") == "yes"
        assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth"), screen
        assert browser.find_element("id", "play").text == "Play"  # nothing moves by itself
        many = (
            "c => new Set(new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size"
        )
        assert min(browser.execute_script(f"return [...document.querySelectorAll('canvas')].map({many})")) > 3
    reached = []
    for _ in range(6):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(browser.switch_to.active_element.get_attribute("id"))
        if reached[-1] == "place":
            break
    assert reached[-2:] == ["play", "place"]
    slider, now = browser.switch_to.active_element, browser.find_element("id", "now")
    slider.send_keys(Keys.HOME)
    first, before = now.text, pixels(browser)
    slider.send_keys(Keys.END)
    assert now.text != first and pixels(browser) != before
    assert slider.get_attribute("aria-valuetext") == now.text
    slider.send_keys(Keys.HOME)
    assert now.text == first and pixels(browser) == before


@pytest.mark.parametrize("name", ["four_ways", "losses"])
def test_what_is_time_plays_by_itself_and_what_is_a_choice_waits(name: str, browser: Any, tmp_path: Path) -> None:
    file = tmp_path / f"{name}.html"
    file.write_text(page(name, topic(name), drawn(name), "code"), encoding="utf-8")
    opened(browser, file, "laptop", still=False)
    assert browser.find_element("id", "play").text == ("Pause" if drawn(name).control.moves else "Play")
    browser.execute_script("document.querySelector('#speed').value = '3'")
    if not drawn(name).control.moves:
        browser.find_element("id", "play").click()
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 30).until(lambda b: b.find_element("id", "play").text == "Play")
    assert browser.find_element("id", "now").text == drawn(name).control.values[-1]


def test_the_index_opens_offline_on_a_phone(browser: Any, tmp_path: Path) -> None:
    write(tmp_path, ["chain_rule"], "a command", lambda line: None, quick=True)
    opened(browser, tmp_path / "index.html", "phone", still=True)
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    assert browser.execute_script("return document.querySelector('.cards img').naturalWidth") > 300
    browser.find_element("css selector", ".cards a").click()
    assert browser.find_element("id", "place")


def test_the_page_of_watch_works_on_a_phone_by_keyboard(browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    file = tmp_path / "watch.html"
    given = ["watch", "universal", "--optimizer", "adam", "--optimizer", "pso", "--passes", "200", "--out", str(file)]
    assert main(given) == 0
    for screen in SCREENS:
        opened(browser, file, screen, still=True)
        assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth"), screen
    assert browser.find_element("id", "now").text == "200 passes"  # less motion: the end
    before = pixels(browser)
    slider = browser.find_element("id", "place")
    slider.send_keys(Keys.HOME)
    assert browser.find_element("id", "now").text == "0 passes"
    assert all(a != b for a, b in zip(before, pixels(browser), strict=True))
    before = pixels(browser)
    browser.find_element("css selector", "[data-track='1']").send_keys(Keys.SPACE)
    assert pixels(browser) != before
