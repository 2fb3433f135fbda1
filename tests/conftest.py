"""Fixtures that every room's tests may use."""

import importlib.util
import os
from pathlib import Path

import hypothesis
import pytest

from atlas.doctor import find_browser

# Whether a property holds does not hang on how busy the machine is; speed is measured in benchmarks/.
hypothesis.settings.register_profile("atlas", deadline=None)
hypothesis.settings.load_profile("atlas")

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout that is being tested."""
    return Path(__file__).resolve().parent.parent


def _absent(message):
    """A skipped browser test is as good as none: where they are asked for, their absence is a failure."""
    if os.environ.get("ATLAS_REQUIRE_BROWSER") == "1":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


@pytest.fixture(scope="session")
def chromium():
    """One Chromium for all tests of a process: two of Playwright's in one process would wait for each other."""
    path = find_browser()
    if path is None:
        _absent("no Chromium on this machine: install it, on Debian and Ubuntu with `apt install chromium`")
    if importlib.util.find_spec("playwright") is None:
        _absent("Playwright is not installed: pip install playwright (its browsers are not needed)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()
