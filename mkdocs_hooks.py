"""What MkDocs does not do by itself: pages from beside `docs`, and patterns in `nav`.

The documents are written for the repository, where they are read most. On the site README.md is the front page, and
CONTRIBUTING.md and the like are pages beside those of `docs`; links between them are rewritten.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_ROOT = Path(__file__).parent
_DOCS = "docs/"
_BESIDE = {"README.md": "index.md"} | {name: name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")}
"""Documents beside `docs` -> their page on the site."""
_ELSEWHERE = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<path>\.\./[^)#:\s]+)\)")
_LINK = re.compile(r"(?P<before>\]\()(?P<path>[^)#:\s]+\.md)(?P<after>[)#])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Returns the files of the site, with the documents beside `docs`; patterns in the navigation become pages."""
    for name, page in _BESIDE.items():
        files.append(File.generated(config, page, abs_src_path=str(_ROOT / name)))
    paths = sorted(file.src_uri for file in files.documentation_pages())
    named = set(_named(config.nav))
    config.nav = _expanded(config.nav, [path for path in paths if path not in named])
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Returns a document with the links of the repository as links of the site; what is no page of it is named."""
    here = _in_repository(page.file.src_uri)

    def named(match: re.Match[str]) -> str:
        there = posixpath.normpath(posixpath.join(posixpath.dirname(here), match["path"]))
        is_beside = not there.startswith(_DOCS) and there not in _BESIDE and (_ROOT / there).exists()
        return match["text"] if is_beside else match[0]

    def rewritten(match: re.Match[str]) -> str:
        there = posixpath.normpath(posixpath.join(posixpath.dirname(here), match["path"]))
        to = _BESIDE.get(there, there.removeprefix(_DOCS))
        return f"{match['before']}{posixpath.relpath(to, posixpath.dirname(page.file.src_uri) or '.')}{match['after']}"

    return _LINK.sub(rewritten, _ELSEWHERE.sub(named, markdown))


def _in_repository(page: str) -> str:
    beside = {to: name for name, to in _BESIDE.items()}
    return beside.get(page, _DOCS + page)


def _named(nav: Any) -> Iterator[str]:
    """Yields what a part of the navigation names."""
    if isinstance(nav, str):
        yield nav
    for part in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from _named(part)


def _expanded(nav: Any, unnamed: list[str]) -> Any:
    """Returns a part of the navigation with each pattern replaced by the pages of its folder that nothing names."""
    if isinstance(nav, dict):
        return {title: _expanded(part, unnamed) for title, part in nav.items()}
    if not isinstance(nav, list):
        return nav
    expanded = []
    for part in nav:
        if isinstance(part, str) and "*" in part:
            depth = part.count("/")
            expanded += [page for page in unnamed if fnmatchcase(page, part) and page.count("/") == depth]
        else:
            expanded.append(_expanded(part, unnamed))
    return expanded
