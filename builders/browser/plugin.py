"""The fixtures `browser` and `url`, and a screenshot of each failed test."""

import os
import re
import subprocess
import time

import browser as program
import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.options import Options

# Seconds to look for an element that is not on the page yet.
WAIT = 5


def pytest_addoption(parser):
    group = parser.getgroup("xp")
    group.addoption("--xp-url", required=True)
    group.addoption("--xp-reports", required=True)
    group.addoption("--xp-window", required=True)


@pytest.fixture(scope="session")
def url(pytestconfig):
    """The address of the tested service."""
    return pytestconfig.getoption("--xp-url")


@pytest.fixture(scope="session")
def webdriver_url():
    """A running chromedriver."""
    # Without IPv6, it prints an error that does not matter.
    driver = subprocess.Popen(
        ["chromedriver", f"--port={program.PORT}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 30
    while not program.is_ready("127.0.0.1", program.PORT):
        if driver.poll() is not None or time.monotonic() > deadline:
            driver.kill()
            pytest.exit("error: chromedriver did not start", program.EXTERNAL_STATUS)
        time.sleep(0.05)
    yield f"http://127.0.0.1:{program.PORT}"
    driver.terminate()
    driver.wait()


@pytest.fixture
def browser(webdriver_url, pytestconfig):
    """A new browser, without cookies and storage of earlier tests."""
    options = Options()
    width, height = pytestconfig.getoption("--xp-window").split("x")
    options.add_argument(f"--window-size={width},{height}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    try:
        driver = webdriver.Remote(webdriver_url, options=options)
    except WebDriverException as error:
        pytest.exit(f"error: Chromium did not start: {error.msg}", program.EXTERNAL_STATUS)
    driver.set_page_load_timeout(30)
    driver.implicitly_wait(WAIT)
    yield driver
    driver.quit()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    driver = getattr(item, "funcargs", {}).get("browser")
    if call.when == "call" and report.failed and driver is not None:
        try:
            page = describe(item, driver)
        except WebDriverException as error:
            page = f"no screenshot: {error.msg}"
        # Unlike a section of the report, this is also in the JUnit XML.
        if hasattr(report.longrepr, "addsection"):
            report.longrepr.addsection("Page", page)


def describe(item, driver) -> str:
    """Takes a screenshot; returns its path, the page's address, and what the page logged."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", item.nodeid.removesuffix("]")).strip("-")
    path = os.path.join(item.config.getoption("--xp-reports"), f"failed-{name}.png")
    driver.save_screenshot(path)
    lines = [f"screenshot: {path}", f"address: {driver.current_url}"]
    lines += [f"console: {entry['level']}: {entry['message']}" for entry in driver.get_log("browser")]
    return "\n".join(lines)
