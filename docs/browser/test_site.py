"""The built site in a browser: pages, figures, search, links, and a telephone."""
# ruff: noqa: D103

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

PHONE = 390
ROOT = Path(__file__).resolve().parents[2]
VIGNETTES = sorted(path.stem for path in (ROOT / "vignettes").glob("*.py"))

# Pages whose pictures are kept, beside those of the single tests.
LOOKED_AT = [
    "choose",
    "guide",
    "balancing",
    "gallery",
    "coming_from",
    "coverage",
    "benchmarks",
    "data",
    "api/index",
    "api/generated/causalweights.balancing",
]
# What reaches past the right edge of the window, or of a part of the page that should
# not scroll sideways. Code, tables and outputs do so by themselves.
TOO_WIDE = """
const frames = ".bd-main, .bd-article-container, .bd-sidebar-primary, "
  + ".bd-sidebar-secondary, .bd-header, .bd-footer";
const scrolls = ".bd-article table, .bd-article .output, .bd-article .math, pre";
return [document.documentElement, ...document.querySelectorAll(frames)]
  .filter(frame => frame.clientWidth && frame.scrollWidth > frame.clientWidth + 1)
  .flatMap(frame => [frame, ...[...frame.querySelectorAll("*")].filter(e =>
    e.getBoundingClientRect().right > frame.getBoundingClientRect().right + 1
    && !e.parentElement.closest(scrolls)).slice(0, 4)])
  .map(e => `${e.tagName}.${e.className}: ${e.textContent.trim().slice(0, 60)}`);
"""
FOREIGN = """
const here = window.location.origin;
return performance.getEntriesByType("resource").map(e => e.name)
  .filter(name => !name.startsWith(here) && !name.startsWith("data:"));
"""
PICTURES = """
return [...document.querySelectorAll(arguments[0])]
  .map(e => [e.complete ? e.naturalWidth : 0, e.alt]);
"""


class Links(HTMLParser):
    """The links of a page and the anchors that others may lead to."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = set(), {""}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Note what a tag refers to, and its name."""
        found = dict(attrs)
        self.anchors |= {found[key] for key in ("id", "name") if found.get(key)}
        self.links |= {found[key] for key in ("href", "src") if found.get(key)}


def pages_of(site):
    """Return the address of every page, relative to the site."""
    pages = (str(path.relative_to(site)) for path in site.rglob("*.html"))
    return sorted(page for page in pages if not page.startswith("_static/"))


def broken_links(site):
    """Return the links within the site that lead nowhere."""
    read = {
        site / page: Links((site / page).read_text(encoding="utf-8"))
        for page in pages_of(site)
    }
    broken = []
    for path, page in read.items():
        for link in page.links:
            target, anchor = urldefrag(link)
            if ":" in target.split("/")[0] or target.startswith("//"):
                continue  # another site
            target = unquote(target.split("?")[0])
            file = (path.parent / target).resolve() if target else path
            file = file / "index.html" if file.is_dir() else file
            known = read.get(file)
            if not file.exists() or (known and unquote(anchor) not in known.anchors):
                broken.append(f"{path.relative_to(site)}: {link}")
    return broken


def test_no_link_within_the_site_is_broken(site):
    assert len(pages_of(site)) > 150
    assert broken_links(site) == []


def test_a_broken_link_is_noticed(tmp_path):
    (tmp_path / "a.html").write_text('<a href="b.html#there">x</a><img src="c.png">')
    (tmp_path / "b.html").write_text('<p id="here"></p><a href="a.html">y</a>')
    assert sorted(broken_links(tmp_path)) == ["a.html: b.html#there", "a.html: c.png"]


def test_front_page_has_the_picture_the_code_and_its_output(browser):
    browser.visit("index.html")
    browser.screenshot("front")
    assert browser.find("h1")[0].text.startswith("causalweights")
    ((width, text),) = browser.run(PICTURES, "article img")
    assert width > 300 and "experiment" in text
    code, output = (block.text for block in browser.find("article pre")[:2])
    assert "IPMBalancer(estimand" in code and code.count("\n") <= 13
    assert "Average treatment effect on the treated" in output
    browser.find("article a[href='choose.html']")[0].click()
    assert browser.find("h1")[0].text.startswith("Which estimator do I need?")
    assert browser.complaints() == []


@pytest.mark.parametrize("name", VIGNETTES)
def test_vignette_is_executed_and_its_figures_are_drawn(browser, name):
    browser.visit(f"vignettes/{name}.html", height=5000)
    # Figures far below are loaded when they come into sight.
    for image in browser.find(".cell_output img"):
        browser.run("arguments[0].scrollIntoView()", image)
    browser.run("window.scrollTo(0, 0)")
    browser.screenshot(f"vignette_{name}")
    figures = browser.run(PICTURES, ".cell_output img")
    assert figures and all(width > 300 for width, _ in figures)
    printed = "".join(block.text for block in browser.find(".cell_output pre"))
    assert len(printed) > 300 and "Traceback" not in printed
    assert browser.complaints() == []


def test_quickstart_shows_its_three_pictures(browser):
    browser.visit("vignettes/quickstart.html")
    assert len(browser.find(".cell_output img")) == 3


def test_page_of_a_class_has_its_parameters_and_methods(browser):
    browser.visit("api/generated/causalweights.balancing.IPMBalancer.html", height=5000)
    browser.screenshot("class")
    text = browser.find("article")[0].text
    for word in ("discriminator", "relative_gap_", "Examples", "predict_weights"):
        assert word in text
    assert "\\" not in browser.find("article dl")[0].text.split("Examples")[0]
    assert browser.complaints() == []


def test_formulas_are_drawn(browser):
    page = "api/generated/causalweights.learners.WeightedKernelRidge.html"
    browser.visit(page, height=2000)
    browser.screenshot("formula")
    sizes = browser.run(
        "return [...document.querySelectorAll('math')]"
        ".map(e => e.getBoundingClientRect().width)"
    )
    assert sizes and min(sizes) > 5


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("IPMBalancer", "api/generated/causalweights.balancing.IPMBalancer.html"),
        ("overlap population", "choose.html"),
        ("double weighting", "shift.html"),
    ],
)
def test_search_finds(browser, words, page):
    from selenium.webdriver.support.ui import WebDriverWait

    browser.visit(f"search.html?q={words.replace(' ', '+')}")
    selector = f"ul.search a[href*='{page}']"
    WebDriverWait(browser.driver, 30).until(lambda _: browser.find(selector))
    browser.screenshot(f"search_{words.replace(' ', '_')}")
    assert browser.complaints() == []


def test_search_opens_from_any_page(browser):
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    browser.visit("guide.html")
    buttons = [b for b in browser.find(".search-button__button") if b.is_displayed()]
    buttons[0].click()
    fields = [f for f in browser.find("input[type=search]") if f.is_displayed()]
    fields[0].send_keys("entropy balancing", Keys.ENTER)
    wait = WebDriverWait(browser.driver, 30)
    wait.until(lambda _: "search.html" in browser.driver.current_url)
    wait.until(lambda _: browser.find("ul.search a[href*='EntropyBalancer']"))


@pytest.mark.parametrize("width", [PHONE, 1280])
def test_every_page_fits_the_window_and_asks_nobody_else(browser, site, width):
    faults = {}
    for page in pages_of(site):
        browser.visit(page, width=width)
        found = [*browser.run(TOO_WIDE), *browser.run(FOREIGN), *browser.complaints()]
        if found:
            faults[page] = found
    assert faults == {}


def test_a_page_that_does_not_fit_is_noticed(browser):
    browser.visit("guide.html", width=PHONE)
    assert browser.run(TOO_WIDE) == []
    browser.run(
        "document.querySelector('article').insertAdjacentHTML("
        "'beforeend', '<div style=\"width: 500px\">wide</div>')"
    )
    assert browser.run(TOO_WIDE)


@pytest.mark.parametrize("width", [PHONE, 1280])
def test_pictures_of_the_pages_are_kept(browser, width):
    pages = [*LOOKED_AT, "index", *(f"vignettes/{name}" for name in VIGNETTES)]
    for page in pages:
        browser.visit(f"{page}.html", width=width, height=2400)
        assert browser.find("h1")
        browser.screenshot(f"{width}_{page.replace('/', '_')}")
