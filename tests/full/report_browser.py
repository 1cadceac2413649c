"""Opens a page of pipelines/report in headless Chromium, in windows of 400 and 1400 pixels, in light and dark
colours.

    report_browser.py PAGE STATE [ID...]         the page says the STATE and has the parts ID
    report_browser.py PAGE --figures RUN         labels that were drawn hold the run's figures"""

import csv
import json
import os
import sys
import time
from urllib.parse import quote

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service


def start():
    options = Options()
    for flag in "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars":
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))


def requests(driver, url):
    """The addresses that were asked for, apart from the page itself and the data within it."""
    found = []
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked = message["params"]["request"]["url"]
            if asked != url and not asked.startswith("data:"):
                found.append(asked)
    return found


def look(driver, url, width, dark, check):
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    metrics = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    driver.get(url)
    for _ in range(200):  # until the figures are drawn
        if driver.execute_script("return document.querySelector('footer') && document.querySelectorAll('svg').length > 0"):
            break
        time.sleep(0.1)
    time.sleep(0.3)
    scroll, inner = driver.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert inner == width and scroll <= width, f"{scroll} pixels of content in {inner}"
    errors = [e for e in driver.get_log("browser") if e["level"] in ("SEVERE", "WARNING")]
    assert not errors, errors
    assert not requests(driver, url), "the page asks for something"
    assert driver.execute_script("return typeof pwned") == "undefined", "a text of the run was executed"
    unnamed = "return [...document.querySelectorAll('main > section svg, main canvas')].filter(e => !e.getAttribute('aria-label')).length"
    assert driver.execute_script(unnamed) == 0, "a figure has no text"
    assert "NaN" not in driver.find_element("tag name", "body").text and "undefined" not in driver.page_source.split("<script")[0]
    broken = "return [...document.querySelectorAll('svg *')].filter(e => [...e.attributes].some(a => /NaN|Infinity|undefined/.test(a.value))).length"
    assert driver.execute_script(broken) == 0, "a figure has coordinates that are not numbers"
    check(driver)


def parts(state, ids):
    def check(driver):
        assert driver.find_element("id", "state").text == state
        for name in ids:
            box = driver.find_element("id", name)
            assert box.size["width"] > 0 and box.size["height"] > 0, name
        # every canvas has something drawn on it
        blank = """return [...document.querySelectorAll('main canvas')].filter(c => {
            const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
            return !d.some(v => v); }).length"""
        for _ in range(50):
            if driver.execute_script(blank) == 0:
                return
            time.sleep(0.1)
        raise AssertionError("an empty picture")

    return check


def figures(run):
    def percent(text):
        return f"{100 * float(text):.1f} %"

    with open(run + "/evaluation/results.tsv", encoding="utf-8") as file:
        results = list(csv.DictReader(file, delimiter="\t"))
    with open(run + "/metrics.tsv", encoding="utf-8") as file:
        last = list(csv.DictReader(file, delimiter="\t"))[-1]

    def check(driver):
        drawn = driver.execute_script("return document.getElementById('accuracy').textContent")
        for row in results:
            assert percent(row["top1"]) in drawn, (row, drawn)
        table = driver.execute_script("return [...document.querySelectorAll('details table')][0].textContent")
        for row in results:
            assert f"{percent(row['low'])} to {percent(row['high'])}" in table, (row, table)
        shown = driver.execute_script("return document.querySelector('[data-column=contrast_acc] .value').textContent")
        assert shown == "last " + percent(last["contrast_acc"]), shown
        shown = driver.execute_script("return document.querySelector('[data-column=loss] .value').textContent")
        assert abs(float(shown.split()[1]) - float(last["loss"])) <= 5e-4 * float(last["loss"]), shown

    return check


def main(page, what, *rest):
    url = "file://" + quote(os.path.abspath(page))
    check = figures(rest[0]) if what == "--figures" else parts(what, rest)
    driver = start()
    try:
        for width, dark in (400, False), (1400, False), (1400, True):
            look(driver, url, width, dark, check)
            if os.environ.get("SHOTS"):  # a folder: for people
                height = driver.execute_script("return document.documentElement.scrollHeight")
                driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})
                time.sleep(0.5)
                name = os.path.abspath(page).split("/")[-2].replace("<", "").replace(">", "")
                driver.save_screenshot(f"{os.environ['SHOTS']}/{name}-{width}{'-dark' if dark else ''}.png")
    finally:
        driver.quit()


main(*sys.argv[1:])
