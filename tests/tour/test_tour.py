"""The tour: each page's textbook fact holds in the data that it shows, and its page works in a browser.

The data come from the code that the page shows, run as it stands. Quick studies here; the whole tour is a campaign.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.tour_facts import FACTS

from optbench.cli import main, parser
from optbench.tour.book import one_thread, write
from optbench.tour.page import keys, page
from optbench.tour.picture import Frames, Picture, at, image, plain
from optbench.tour.still import thumbnail
from optbench.tour.topic import MAX_LINES, topic
from optbench.tour.topics import TOPICS


@cache
def studied(name: str) -> Any:
    """What the code of a page leaves, in its quick form."""
    with one_thread():
        return topic(name).data(**topic(name).quick)


@cache
def drawn(name: str) -> Picture:
    return topic(name).draw(studied(name))


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
