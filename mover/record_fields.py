"""What can stand in the fields of a record: names, texts and numbers with their bounds. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from mover.names import is_kind, is_label, is_shown, is_subdomain, shown
from mover.scope import is_scope

_ENTRIES_LIMIT: Final = 200_000
STATUS_LIMIT: Final = 256 * 1024
"""An API server takes no more of annotations (apimachinery TotalAnnotationSizeLimitB)."""


def that(is_valid: Callable[[str], bool], what: str) -> AfterValidator:
    """Returns the validator of a text of which `what` says what it has to be."""

    def validate(text: str) -> str:
        if not is_valid(text):
            raise ValueError(f"{shown(text)!r} is {what}")
        return text

    return AfterValidator(validate)


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return is_shown(text, 40)


Group = Annotated[str, that(lambda text: not text or is_subdomain(text), "no API group")]
Kind = Annotated[str, that(is_kind, "no kind")]
Label = Annotated[str, that(is_label, "no name of a namespace or a resource")]
Space = Annotated[str, that(lambda text: not text or is_label(text), "no namespace")]
Name = Annotated[str, that(is_subdomain, "no name of an object")]
Scope = Annotated[str, that(is_scope, "no scope of a move")]
Text = Annotated[str, that(is_shown, "too long, or not to be shown")]
UID = Annotated[str, StringConstraints(min_length=1, max_length=512), that(is_shown, "no UID")]
Time = Annotated[str, that(_is_time, "no time (RFC 3339)")]
Id = Annotated[str, StringConstraints(pattern=r"\A[0-9a-z]{1,32}\z")]
Digest = Annotated[str, StringConstraints(pattern=r"\A[0-9a-f]{12}\z")]
Count = Annotated[int, Field(ge=0, le=10_000_000)]
Few = Field(max_length=1000)
Many = Field(max_length=_ENTRIES_LIMIT)
Parts = tuple[Group, Kind, Space, Name]


class Strict(BaseModel):
    """A part of a record: frozen, and with nothing that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid")
