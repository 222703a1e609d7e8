"""Fills in the templates of this folder: everything is escaped, and all that a page needs is in the page."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mover.page.words import FATES

_HERE = Environment(
    loader=PackageLoader("mover", "page"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_WORDS = {tense.value: {fate.value: text for fate, text in words.items()} for tense, words in FATES.items()}


def filled(template: str, data: Mapping[str, Any], **values: Any) -> str:
    """Returns a page: a template with its values, the style, the programs, and `data` for them as JSON."""
    return _HERE.get_template(template).render(
        **values,
        style=_as_it_is("page.css"),
        library=_as_it_is("cytoscape.min.js"),
        program=_as_it_is("page.js"),
        data=_script_text({"words": _WORDS, **data}),
    )


def _as_it_is(name: str) -> Markup:
    """Returns a file of this folder, which we trust."""
    return Markup((files("mover.page") / name).read_text(encoding="utf-8"))  # noqa: S704


def _script_text(value: Any) -> Markup:
    """Returns JSON that cannot end the script element that it stands in."""
    return Markup(orjson.dumps(value).decode().replace("<", "\\u003c"))  # noqa: S704
