"""Reading what somebody else may have written: bounded, strict, never more than data. Pure functions.

Each refusal is an `UntrustedError`, whose text is the end of a sentence: the caller says which file or object it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final

import orjson
import yaml

from mover import names
from mover.names import shown

MAX_DEPTH: Final = 100
"""So deep may values be nested; orjson writes no more than 254, and no object of Kubernetes comes near."""

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:-]{0,252})")
_GROUP = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)?")
_VERSION = re.compile(r"[a-z0-9]{1,63}")
_UID = re.compile(r"[A-Za-z0-9._:/-]{1,128}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)")


class UntrustedError(ValueError):
    """Something is not as it has to be; the text says what."""


def is_name(text: str) -> bool:
    """Returns whether a text can be the name of an object, and is one part of a path and nothing else."""
    return _NAME.fullmatch(text) is not None


def is_kind(group: str, kind: str) -> bool:
    """Returns whether two texts can be an API group and a kind."""
    return _GROUP.fullmatch(group) is not None and names.is_kind(kind)


def is_version(text: str) -> bool:
    """Returns whether a text can be the version of an API."""
    return _VERSION.fullmatch(text) is not None


def is_uid(text: str) -> bool:
    """Returns whether a text can be a UID."""
    return _UID.fullmatch(text) is not None


def is_time(text: str) -> bool:
    """Returns whether a text is a time of RFC 3339."""
    return _TIME.fullmatch(text) is not None


def parse_json(content: bytes) -> Any:
    """Returns a value of JSON in which no name comes twice and that is not nested too deeply.

    Raises:
        UntrustedError: It is something else.
    """
    try:
        # The parser that stops at a depth of its own goes first: the other one counts frames.
        value = orjson.loads(content)
        json.loads(content, object_pairs_hook=_without_repeats)
    except UntrustedError:
        raise
    except (ValueError, RecursionError) as error:
        raise UntrustedError(f"it is not JSON ({_short(error)})") from error
    require_shallow(value)
    return value


def _without_repeats(pairs: Iterable[tuple[str, Any]]) -> None:
    names: set[str] = set()
    for name, _ in pairs:
        if name in names:
            raise UntrustedError(f"it has the field {shown(name)} twice in one place")
        names.add(name)


def require_shallow(value: Any) -> None:
    """Raises UntrustedError if a value is nested more deeply than MAX_DEPTH."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for one in level for inner in _inside(one)]
        if not level:
            return
    raise UntrustedError(f"it is nested more than {MAX_DEPTH} levels deep")


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def parse_yaml(text: str) -> Any:
    """Returns a value of YAML that is one document without anchors, aliases and tags, and not nested too deeply.

    Raises:
        UntrustedError: It is something else.
    """
    depth = documents = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            documents += isinstance(event, yaml.DocumentStartEvent)
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise UntrustedError("it has anchors or aliases")
            if getattr(event, "tag", None):
                raise UntrustedError("it has tags")
            if depth > MAX_DEPTH or documents > 1:
                raise UntrustedError(f"it is nested more than {MAX_DEPTH} levels deep, or several documents")
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, UntrustedError):
            raise
        raise UntrustedError(f"it is not YAML ({_short(error)})") from error


def _short(error: Exception) -> str:
    return shown(" ".join(str(error).split()))
