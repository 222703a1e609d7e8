"""What can be a name in Kubernetes: of namespaces, objects, kinds, groups. Pure.

Rules of apimachinery: util/validation (IsDNS1123Label, IsDNS1123Subdomain) and api/validation/path
(IsValidPathSegmentName).
"""

from __future__ import annotations

import re
from typing import Final

RECORDS_NAMESPACE: Final = "capi-mover"
"""Where the records and the leases of moves are, unless another namespace is named: one that is for nothing else."""

LABEL: Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_PART: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN: Final = rf"(?=.{{1,253}}\Z){_PART}(\.{_PART})*"
KIND: Final = r"[A-Za-z]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?"

_LABEL: Final = re.compile(rf"{LABEL}\Z")
_SUBDOMAIN: Final = re.compile(rf"{SUBDOMAIN}\Z")
_KIND: Final = re.compile(rf"{KIND}\Z")
_LONGEST: Final = 253
_LONGEST_TEXT: Final = 1024


def is_label(name: str) -> bool:
    """Returns whether a namespace can have this name.

    >>> is_label("metal3"), is_label("a.b"), is_label("../x"), is_label("")
    (True, False, False, False)
    """
    return _LABEL.match(name) is not None


def is_subdomain(name: str) -> bool:
    """Returns whether an object of a custom type, a Secret or a ConfigMap can have this name: its parts may be long.

    >>> is_subdomain("prod-1.example"), is_subdomain("x/../y"), is_subdomain("a..b")
    (True, False, False)
    """
    return _SUBDOMAIN.match(name) is not None


def is_kind(name: str) -> bool:
    """Returns whether a type can have this kind."""
    return _KIND.match(name) is not None


def is_segment(name: str) -> bool:
    """Returns whether a name of any object can be part of a path; Roles, for one, may have names like "system:x".

    >>> is_segment("system:x"), is_segment(".."), is_segment("a/b"), is_segment("")
    (True, False, False, False)
    """
    is_whole = name not in ("", ".", "..") and len(name) <= _LONGEST
    return is_whole and "/" not in name and "%" not in name and name.isprintable()


def is_shown(text: str, longest: int = _LONGEST_TEXT) -> bool:
    """Returns whether text that others have written may be shown on a terminal: no control characters, not too long."""
    return len(text) <= longest and text.isprintable()


def shown(text: str, longest: int = 120) -> str:
    r"""Returns text that others have written as it may be shown: shortened, and without control characters.

    >>> shown("a\x1b[2Jb")
    'a?[2Jb'
    """
    legible = "".join(character if character.isprintable() else "?" for character in text)
    return legible if len(legible) <= longest else f"{legible[:longest]}…"
