"""A headless browser for the tests: the system's Chromium or Chrome, driven by Playwright."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@contextmanager
def open_browser() -> Iterator:
    """Playwright's Browser; the test is skipped where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        pytest.skip("no browser here: apt-get install chromium")
    with api.sync_playwright() as driver:
        # Without a sandbox of its own: it has none to give to root, and the pages are ours.
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


def wait_until(page, condition: str, seconds: float = 20) -> None:
    """Wait until a JavaScript condition holds.

    Playwright's own wait_for_function evaluates text in the page, which the page's content
    security policy forbids: it works only where the condition holds at once.
    """
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"not within {seconds} s: {condition}"
        page.wait_for_timeout(20)


@contextmanager
def opening(browser, folder, height: int, **always) -> Iterator:
    """at(state, width, folder=folder): opens a page from disk at a state of its own.

    Complaints and requests fail the test.

    Args:
        always: options of each page's context.
    """
    watched = []

    def at(state="", width=1280, folder=folder, **context):
        size = {"width": width, "height": height}
        view = Watched(browser, "file:", viewport=size, **always, **context)
        watched.append(view)
        view.page.goto(f"file://{folder}/index.html#{state}")
        view.page.wait_for_selector("html[data-ready]")
        return view.page

    yield at
    for view in watched:
        view.close()


class Watched:
    """A page, with all that it complains of and all that it asks of the network."""

    def __init__(self, browser, allowed: str, **context) -> None:
        self.page = browser.new_context(**context).new_page()
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("pageerror", lambda error: self._note("error", str(error)))
        self.page.on("request", lambda request: self._request(request.url, allowed))

    def close(self) -> None:
        """Fail if it complained or asked for anything, and close it."""
        assert not self.complaints and not self.foreign
        self.page.context.close()

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def _request(self, url: str, allowed: str) -> None:
        if not url.startswith((allowed, "data:", "blob:")):
            self.foreign.append(url)
