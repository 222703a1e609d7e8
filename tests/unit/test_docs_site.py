"""The site is built without a warning, its pages lead to each other, and it asks nobody else for anything."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.documents import REPOSITORY, pages

_LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data", "embed": "src"}
_LOADING_LINKS = frozenset({"stylesheet", "icon", "preload", "prefetch", "modulepreload", "manifest", "preconnect"})
_STYLE_URL = re.compile(r"""url\(\s*["']?(?:https?:)?//|@import\s+["'](?:https?:)?//""")


class _Page(HTMLParser):
    """Keeps where a page's links lead, what it loads, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keeps what one tag says."""
        named = {name: value or "" for name, value in attrs}
        self.anchors.add(named.get("id", ""))
        if tag == "a" and "href" in named:
            self.links.append(named["href"])
        if tag == "link" and _LOADING_LINKS & set(named.get("rel", "").split()):
            self.loads.append(named["href"])
        if _LOADED.get(tag) in named:
            self.loads.append(named[_LOADED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def read(site: Path) -> dict[Path, _Page]:
    return {path: _Page(path.read_text()) for path in sorted(site.rglob("*.html"))}


def test_every_document_is_a_page_that_the_navigation_knows(site: Path, read: dict[Path, _Page]) -> None:
    expected = {_page_of(page) for page in pages()}
    assert {path.relative_to(site).as_posix() for path in read} == {*expected, "404.html"}
    front = {urlsplit(link).path for link in read[site / "index.html"].links}
    assert expected - {"index.html"} - front == set()


def _page_of(document: Path) -> str:
    name = document.relative_to(REPOSITORY).as_posix().removeprefix("docs/").removesuffix(".md")
    return f"{'index' if name == 'README' else name.replace('/README', '/index')}.html"


def test_links_within_the_site_lead_to_pages_and_anchors(site: Path, read: dict[Path, _Page]) -> None:
    assert sorted(_broken(site, read)) == []


def _broken(site: Path, read: dict[Path, _Page]) -> Iterator[str]:
    for path, page in read.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or path.name == "404.html":  # whose links are from the server's root
                continue
            to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if to.is_dir():
                to /= "index.html"
            if not to.is_file() or (parts.fragment and to in read and parts.fragment not in read[to].anchors):
                yield f"{path.relative_to(site)}: {link}"


def test_nothing_is_loaded_from_elsewhere(site: Path, read: dict[Path, _Page]) -> None:
    loads = {load for page in read.values() for load in page.loads}
    assert loads
    assert [load for load in loads if urlsplit(load).netloc] == []
    assert [path.name for path in site.rglob("*.css") if _STYLE_URL.search(path.read_text())] == []
