"""The page in a real browser with the network off: no console error, every control works, nothing is empty."""

from __future__ import annotations

import base64
import os
import re
import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.synthetic import Runner, make

from optbench import report

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
Image = pytest.importorskip("PIL.Image")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
if CHROMIUM is None or DRIVER is None:
    pytest.skip("no chromium and chromedriver (Debian: chromium chromium-driver)", allow_module_level=True)

from selenium.webdriver.chrome.options import Options  # noqa: E402  # only after it is known to be there
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

BINARY, SERVICE = str(CHROMIUM), str(DRIVER)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1366,900"
)
PLOT = "document.getElementById('plot').drawn"
HOSTILE = "<img src=x onerror=console.error(1)>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    runners = {
        "adam": Runner(rate=4.0),
        "sgd": Runner(rate=2.0, fails=(0,)),
        HOSTILE: Runner(rate=1.0, family="swarm"),
        "dp": Runner(rate=0.5, refuses=("valley",), family="dynamic programming"),
    }
    make(folder, runners, ["bowl", "valley"], points=16)
    return report.write([folder]).html


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page whose optimizers were tuned, so that their names carry a mark."""
    folder = tmp_path_factory.mktemp("tuned")
    runners = {f"g{k}": Runner(hyper={"lr": k}, rate=k, name="g") for k in (1, 2)} | {"b": Runner()}
    make(folder, runners, ["bowl", "valley"], tuned={"g": ["g1", "g2"]})
    return report.write([folder]).html


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = Options()
    for flag in FLAGS.split():
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.binary_location = BINARY
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(SERVICE))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def opened(browser: Any, page: Path) -> Any:
    """The page, from disk with the network off, with the section on curves open."""
    browser.execute_cdp_cmd("Network.enable", {})
    conditions = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)
    browser.get("about:blank")
    browser.get(page.as_uri() + "#curves")
    WebDriverWait(browser, 60).until(
        lambda b: b.execute_script("return document.querySelector('#live')?.dataset.ready")
    )
    return browser


def script(browser: Any, code: str) -> Any:
    return browser.execute_script(code)


def errors(browser: Any) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def pick(browser: Any, name: str, value: str) -> None:
    """Choose in a control as a person would: set it, then let it say so."""
    script(
        browser,
        f"const e = document.getElementById('{name}'); e.value = {value!r}; "
        "e.dispatchEvent(new Event('change')); e.dispatchEvent(new Event('input'));",
    )


def shown(browser: Any) -> list[str]:
    """The names of the lines in the plot."""
    return list(script(browser, f"return {PLOT}.lines.map(line => line.name)"))


def test_opens_from_disk_without_network_or_console_errors(opened: Any) -> None:
    assert errors(opened) == []
    assert "The answer" in script(opened, "return document.querySelector('main').innerText")
    requests = [entry["message"] for entry in opened.get_log("performance") if "requestWillBeSent" in entry["message"]]
    assert not any('"url":"http' in message for message in requests)


def test_every_axis_scale_and_metric_draws_every_optimizer(opened: Any) -> None:
    titles = set()
    for axis in ("passes", "samples", "flops", "seconds"):
        pick(opened, "pick-axis", axis)
        titles.add(script(opened, f"return {PLOT}.x.title"))
        assert len(shown(opened)) == 4
        last = script(opened, f"return {PLOT}.lines.find(t => t.name === 'adam').x.at(-1)")
        # 100 passes of 2e5 FLOPs and 200 samples there and back, 0.01 seconds each
        assert last == pytest.approx({"passes": 100, "samples": 40000, "flops": 2e7, "seconds": 1.0}[axis], rel=1e-3)
    assert len(titles) == 4
    pick(opened, "pick-axis", "passes")
    for metric in script(opened, "return [...document.getElementById('pick-metric').options].map(o => o.value)"):
        pick(opened, "pick-metric", metric)
        assert len(shown(opened)) == 4
    pick(opened, "pick-metric", "loss")
    for name, axis in (("log-x", "x"), ("log-y", "y")):
        kind = f"return {PLOT}.{axis}.log"
        before = script(opened, kind)
        opened.find_element("id", name).click()
        assert {before, script(opened, kind)} == {True, False}
        opened.find_element("id", name).click()
    assert errors(opened) == []


def test_linear_and_log_show_the_same_losses(opened: Any) -> None:
    value = f"return {PLOT}.lines.find(t => t.name === 'adam').y.at(-1)"
    logged = script(opened, value)
    opened.find_element("id", "log-y").click()
    assert script(opened, value) == pytest.approx(logged)  # the best loss is 0 here
    opened.find_element("id", "log-y").click()


def test_optimizers_hide_and_show_by_keyboard(opened: Any) -> None:
    opened.find_element("css selector", "#pick-who summary").send_keys(Keys.ENTER)
    box = opened.find_element("css selector", "#pick-labels input")
    box.send_keys(Keys.SPACE)
    assert len(shown(opened)) == 3
    box.send_keys(Keys.SPACE)
    assert len(shown(opened)) == 4
    opened.find_element("id", "show-none").send_keys(Keys.ENTER)
    assert shown(opened) == []
    opened.find_element("id", "show-all").send_keys(Keys.ENTER)
    assert len(shown(opened)) == 4


def test_intervals_can_be_left_out(opened: Any) -> None:
    bands = "return document.querySelectorAll('#plot path[opacity=\"0.13\"]').length"
    assert script(opened, bands) == 4
    opened.find_element("id", "pick-bands").click()
    assert script(opened, bands) == 0
    opened.find_element("id", "pick-bands").click()


def test_the_target_slider_moves_the_line_and_the_table(opened: Any) -> None:
    pick(opened, "pick-target", "1")
    rows = "return [...document.querySelectorAll('#reached tr')].map(r => [...r.cells].map(c => c.innerText))"
    line = f"return {PLOT}.targets[0]"
    easy, high = script(opened, rows), script(opened, line)
    pick(opened, "pick-target", "3")
    hard, low = script(opened, rows), script(opened, line)
    assert (high, low) == (pytest.approx(0.2), pytest.approx(0.002))
    assert easy[0][0] == hard[0][0] == "adam"
    assert float(easy[0][1]) < float(hard[0][1])
    assert hard[-1][1] == "never"
    assert "0.1 % still to go" in script(opened, "return document.getElementById('target-text').innerText")


def test_hover_gives_values(opened: Any) -> None:
    plot = opened.find_element("css selector", "#plot svg")
    ActionChains(opened).move_to_element(plot).perform()
    text = script(opened, "return document.querySelector('#plot .hover').textContent")
    assert re.fullmatch(r".+: .+ \[.+, .+\] at .+ passes", text)


def test_problems_change_and_an_inapplicable_one_is_absent(opened: Any) -> None:
    pick(opened, "pick-problem", "valley")
    assert sorted(shown(opened)) == sorted(["adam", "sgd", HOSTILE])
    pick(opened, "pick-problem", "bowl")
    assert len(shown(opened)) == 4
    assert errors(opened) == []


def test_tables_sort_by_number_the_best_first_and_back(opened: Any) -> None:
    script(opened, "document.getElementById('summary-table').open = true")
    head = "document.querySelector('#summary-table th:nth-child(2)')"
    cells = (
        "return [...document.querySelectorAll('#summary-table tbody tr')].map(r => parseFloat(r.cells[1].innerText))"
    )
    script(opened, f"{head}.querySelector('button').click()")
    down = script(opened, cells)
    assert down == sorted(down, reverse=True)
    assert script(opened, f"return {head}.getAttribute('aria-sort')") == "descending"
    script(opened, f"{head}.querySelector('button').click()")
    assert script(opened, cells) == down[::-1]


def test_light_and_dark(opened: Any) -> None:
    colour = "return getComputedStyle(document.body).backgroundColor"
    light = script(opened, colour)
    opened.find_element("id", "theme").click()
    assert script(opened, colour) != light
    opened.find_element("id", "theme").click()
    assert script(opened, colour) == light


def test_names_are_shown_as_text(opened: Any) -> None:
    assert script(opened, "return document.querySelectorAll('img[src=x]').length") == 0
    assert HOSTILE in script(opened, "return document.getElementById('pick-labels').textContent")


@pytest.mark.parametrize(("width", "height", "mobile"), [(390, 844, True), (1366, 900, False)])
def test_nothing_overflows_or_is_empty(opened: Any, width: int, height: int, mobile: bool) -> None:
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        script(opened, "document.querySelectorAll('details').forEach(one => { one.open = true; })")
        fits = "return document.documentElement.scrollWidth <= innerWidth && document.querySelector('#plot svg')"
        WebDriverWait(opened, 10).until(lambda b: b.execute_script(f"{fits}.clientWidth <= innerWidth"))
        empty = "return [...document.querySelectorAll('.chart')].filter(one => !one.innerText.trim()).length"
        assert script(opened, empty) == 0
        script(opened, "document.getElementById('plot').scrollIntoView()")
        plot = Image.open(BytesIO(opened.find_element("id", "plot").screenshot_as_png)).convert("RGB")
        colours = np.unique(np.asarray(plot).reshape(-1, 3), axis=0)
        assert len(colours) > 60  # lines, bands and text on a ground, not a blank
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_prints_without_the_controls(opened: Any) -> None:
    pdf = base64.b64decode(opened.execute_cdp_cmd("Page.printToPDF", {"paperWidth": 8.27, "paperHeight": 11.7})["data"])
    assert pdf.startswith(b"%PDF")
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    each = "e => [e.open, getComputedStyle(e).display !== 'none']"
    paper = f"return [...document.querySelectorAll('details.part')].map({each})"
    assert {(is_open, is_shown) for is_open, is_shown in script(opened, paper)} == {(True, True), (False, False)}
    assert script(opened, "return [...document.querySelectorAll('details.all')].every(one => one.open)")
    hidden = "return [...document.querySelectorAll('.screen, nav')].every(e => getComputedStyle(e).display === 'none')"
    assert script(opened, hidden)
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def until(browser: Any, code: str) -> None:
    """Wait until a script gives something true."""
    WebDriverWait(browser, 10).until(lambda b: b.execute_script(f"return {code}"))


def test_every_section_and_every_view_unfolds_without_an_error(opened: Any) -> None:
    sections = script(opened, "return [...document.querySelectorAll('details.part')].map(one => one.id)")
    assert {"curves", "targets", "pairs", "problems", "optimizers", "speed", "statuses", "machine"} <= set(sections)
    for name in sections:
        script(opened, f"location.hash = {name!r}")
        until(opened, f"document.querySelector('#{name} .body').innerText.length > 20")
    views = {"optimizer=sgd": "Number", "problem=bowl": "Cost to target", "problem=none": "no problem"}
    for address, words in views.items():
        script(opened, f"location.hash = {address!r}")
        until(opened, f"document.getElementById('view').innerText.includes({words!r})")
    script(opened, f"location.hash = 'optimizer=' + encodeURIComponent({HOSTILE!r})")
    until(opened, f"document.title.includes({HOSTILE!r})")
    assert script(opened, "return document.querySelectorAll('img').length") == 0
    assert errors(opened) == []


def test_a_tuned_optimizer_is_found_by_its_name(browser: Any, tuned: Path) -> None:
    browser.get("about:blank")
    browser.get(tuned.as_uri() + "#optimizer=g")
    until(browser, "document.getElementById('view').innerText.startsWith('g (tuned, 2)')")
    assert "no optimizer" not in script(browser, "return document.getElementById('view').innerText")


def test_a_phone_breaks_no_word_of_the_map(browser: Any, page: Path) -> None:
    size = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.get("about:blank")
        browser.get(page.as_uri())
        code = """return [...document.querySelectorAll('.map tbody th')].map(one => {
            one.textContent = 'autoencoders'; const text = document.createRange(); text.selectNodeContents(one);
            return text.getClientRects().length === 1; })"""
        assert script(browser, code) and all(script(browser, code))
        assert script(browser, "return document.documentElement.scrollWidth <= innerWidth")
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_filters_make_the_leaderboard_and_the_pictures_again(opened: Any) -> None:
    ranked = "return document.getElementById('leaders').drawn"
    pictures = "return document.getElementById('chart-ecdf').innerHTML"
    whole, before = script(opened, ranked), script(opened, pictures)
    assert whole["ranked"][0] == "adam"
    field = opened.find_element("id", "f-limit")
    field.send_keys("10")
    less = script(opened, ranked)
    assert less["scores"] != whole["scores"] and script(opened, pictures) != before
    pick(opened, "f-family", "swarm")
    script(opened, "document.getElementById('f-family').dispatchEvent(new Event('input', {bubbles: true}))")
    assert script(opened, ranked)["ranked"] in ([], [HOSTILE])
    opened.find_element("css selector", "#filters button[type=reset]").click()
    WebDriverWait(opened, 5).until(lambda b: b.execute_script(ranked) == whole)
    opened.find_element("css selector", ".map tbody td a").send_keys(Keys.ENTER)
    WebDriverWait(opened, 5).until(lambda b: b.execute_script(ranked) == less)
    assert script(opened, "return location.hash") == "#summary"
    assert errors(opened) == []


def test_axe_finds_no_serious_violation(opened: Any) -> None:
    """axe-core from npm, where it is installed: `npm install --no-save axe-core`, or its file in OPTBENCH_AXE."""
    places = [os.environ.get("OPTBENCH_AXE", ""), "node_modules/axe-core/axe.min.js"]
    found = next((Path(place) for place in places if place and Path(place).is_file()), None)
    if found is None:
        pytest.skip("axe-core is absent: npm install --no-save axe-core, or name axe.min.js in OPTBENCH_AXE")
    script(opened, "document.querySelectorAll('details').forEach(one => { one.open = true; })")
    for dark in (False, True):
        if dark:
            opened.find_element("id", "theme").click()
        opened.set_script_timeout(120)
        opened.execute_script(found.read_text(encoding="utf-8"))
        results = opened.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
        serious = [
            (one["id"], one["nodes"][0]["html"][:200])
            for one in results["violations"]
            if one["impact"] in ("serious", "critical")
        ]
        assert serious == []
