"""A headless Chromium, and pages opened in it as people open them: from a file, without a network.

Without a browser on this machine these tests are skipped; `CHROMIUM=PATH` names one that is not found by itself.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SHOTS = Path(__file__).parents[2] / "build" / "screenshots"
"""Where the pictures go, for people; CI keeps them."""

WIDE: dict[str, Any] = {"viewport": {"width": 1400, "height": 900}}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {**WIDE, "color_scheme": "light"},
    "dark": {**WIDE, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "has_touch": True},
}


def find_chromium() -> str | None:
    """Returns the path of a browser, None if there is none."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Gives the browser."""
    path = find_chromium()
    if path is None:
        pytest.skip(f"there is no browser: none of {', '.join(NAMES)} is installed, and CHROMIUM is not set")
    # Chromium's own sandbox does not let root start it.
    sandbox = os.geteuid() != 0
    # A machine that is busy with other tests draws slowly; no test waits longer than it has to.
    expect.set_options(timeout=60_000)
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=path, chromium_sandbox=sandbox)
        yield browser
        await browser.close()


class Opener:
    """Opens pages, and takes note of what they must not do.

    Attributes:
        faults: Errors that a page has raised or written to the console.
        requests: What a page has asked for, beside itself.
    """

    def __init__(self, browser: Browser, folder: Path) -> None:
        self.faults: list[str] = []
        self.requests: list[str] = []
        self._browser = browser
        self._folder = folder
        self._opened: list[Page] = []

    async def open(self, html: str, look: str = "light", fragment: str = "") -> Page:
        """Returns a page that is opened from a file, in one of `LOOKS`."""
        file = self._folder / "page.html"
        file.write_text(html)
        page = await self._browser.new_page(**LOOKS[look], reduced_motion="reduce")
        page.set_default_timeout(60_000)
        self._opened.append(page)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda message: self.faults.append(message.text))
        page.on("request", lambda request: self.requests.append(request.url))
        await page.goto(file.as_uri() + fragment)
        self.requests.remove(file.as_uri())
        return page

    async def close(self) -> None:
        """Closes all pages."""
        for page in self._opened:
            await page.close()


@pytest.fixture
async def pages(browser: Browser, tmp_path: Path) -> AsyncIterator[Opener]:
    """Gives what opens pages; none of them may raise an error or ask for anything."""
    opener = Opener(browser, tmp_path)
    yield opener
    await opener.close()
    assert opener.faults == []
    assert opener.requests == []
