"""The built site on localhost, and a headless Chromium that visits it."""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path

import pytest

BUILD = Path(__file__).resolve().parents[2] / "build" / "docs"
SITE = BUILD / "html"
SCREENSHOTS = BUILD / "screenshots"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a line for each."""

    def log_message(self, *_):
        """Print nothing."""


def program(*names):
    """Return the first of these programs that is on the PATH."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.fail(f"{' or '.join(names)} is not installed: run `make test-docs`")
    return found


@pytest.fixture(scope="session")
def site():
    """Return the folder of the built pages."""
    if not (SITE / "index.html").exists():
        pytest.fail("the site is not built: run `make docs`")
    return SITE


@pytest.fixture(scope="session")
def address(site):
    """Serve the site on a free port of localhost; its address."""
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def chromium():
    """Start one browser for all tests."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = program("chromium", "chromium-browser", "google-chrome")
    options.add_argument("--headless=new")
    options.add_argument("--disable-dev-shm-usage")
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(program("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_page_load_timeout(60)
    yield driver
    driver.quit()


class Browser:
    """Visits pages at a width, and keeps what the console said and how it looked."""

    def __init__(self, driver, address):
        self.driver = driver
        self.address = address

    def visit(self, page, width=1280, height=900):
        """Open a page in a window of this size; a telephone's below 600 pixels."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {
                "width": width,
                "height": height,
                "deviceScaleFactor": 1,
                "mobile": width < 600,
            },
        )
        self.driver.get_log("browser")
        self.driver.get(f"{self.address}/{page}")
        return self

    def complaints(self):
        """Return the console's warnings and errors since the last visit began."""
        log = self.driver.get_log("browser")
        return [e["message"] for e in log if e["level"] in {"WARNING", "SEVERE"}]

    def run(self, script, *arguments):
        """Run JavaScript in the page and return its value."""
        return self.driver.execute_script(script, *arguments)

    def find(self, selector):
        """Return the elements that a CSS selector chooses."""
        return self.driver.find_elements("css selector", selector)

    def screenshot(self, name):
        """Keep a picture of what the window shows."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(SCREENSHOTS / f"{name}.png"))


@pytest.fixture
def browser(chromium, address):
    """Return the browser, on the site."""
    return Browser(chromium, address)
