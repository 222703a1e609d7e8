"""The bytes of the files: JSON that a YAML reader reads the same, and JSON in comments that it does not see."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import orjson

from mover.untrusted import parse_json

_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_HEADER = re.compile(r"^## .*sha256 (?P<digest>[0-9a-f]{64})$")
_COMMENT = "# "


def to_json(value: Any, *, option: int = 0) -> bytes:
    """Returns the value as JSON with sorted keys, in which clusterctl, which reads YAML, finds the same value.

    A YAML reader refuses some control characters in a string, and folds some line separators: these are escaped.
    """
    raw = orjson.dumps(value, option=option | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
    return _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", raw.decode()).encode()


def to_comment(title: str, value: Any) -> bytes:
    """Returns the value as a YAML document that has nothing but comments; clusterctl ignores such documents.

    The first line carries a checksum of the others.
    """
    text = to_json(value, option=orjson.OPT_INDENT_2).decode()
    header = f"## {title}, sha256 {hashlib.sha256(text.encode()).hexdigest()}\n"
    return (header + "".join(f"{_COMMENT}{line}\n" for line in text.rstrip("\n").split("\n"))).encode()


def from_comment(content: bytes) -> Any:
    """Returns the value that `to_comment` has written; what is before it is skipped.

    Raises:
        ValueError: There is none, or it is damaged; the message says which.
    """
    lines = content.decode().split("\n")
    headers = [(number, match["digest"]) for number, line in enumerate(lines) if (match := _HEADER.match(line))]
    if not headers:
        raise ValueError("it has no header with a checksum")
    number, digest = headers[0]
    text = "".join(f"{line.removeprefix(_COMMENT)}\n" for line in lines[number + 1 :] if line)
    if hashlib.sha256(text.encode()).hexdigest() != digest:
        raise ValueError("its checksum is not that of its content")
    return parse_json(text.encode())
