"""Files for some eyes only: encryption to age recipients (age-encryption.org/v1), by the package pyrage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pyrage  # type: ignore[import-untyped]

from mover.directory.files import FileError, read_stream
from mover.errors import UsageError

_COMMENT = "#"
_LONGEST_IDENTITY = 1024 * 1024


class UndecipheredError(Exception):
    """Something cannot be decrypted with the identities at hand: it is for others, or damaged."""


@dataclass(frozen=True, slots=True)
class Recipients:
    """Those who can decrypt a backup; with none it is not encrypted."""

    keys: tuple[Any, ...] = ()

    @classmethod
    def parse(cls, texts: Sequence[str]) -> Self:
        """Returns the recipients of their texts, `age1…`.

        Raises:
            UsageError: One of them is not a recipient.
        """
        return cls(tuple(map(_recipient, texts)))

    def encrypt(self, content: bytes) -> bytes:
        """Returns the content for the recipients; each of them can decrypt it."""
        return bytes(pyrage.encrypt(content, self.keys))


@dataclass(frozen=True, slots=True)
class Identities:
    """The secret keys at hand."""

    keys: tuple[Any, ...] = field(default=(), repr=False)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Returns the identities in a file as age-keygen writes it: one a line, and comments.

        Raises:
            UsageError: It cannot be read, or one of its lines is no identity; the line is not shown.
        """
        try:
            lines = [line.strip() for line in read_stream(path, _LONGEST_IDENTITY).decode().splitlines()]
        except (FileError, UnicodeDecodeError) as error:
            raise UsageError(
                f"The identity file {path} cannot be read ({error})", "Give another one with --identity"
            ) from error
        texts = [line for line in lines if line and not line.startswith(_COMMENT)]
        if not texts:
            raise UsageError(f"The identity file {path} has no identity", "age-keygen writes one")
        return cls(tuple(_identity(path, text) for text in texts))

    def decrypt(self, content: bytes) -> bytes:
        """Returns what was encrypted.

        Raises:
            UndecipheredError: It is for others, or damaged.
        """
        try:
            return bytes(pyrage.decrypt(content, self.keys))
        except pyrage.DecryptError as error:
            raise UndecipheredError(str(error)) from error


def _recipient(text: str) -> Any:
    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        hint = "A recipient begins with age1; age-keygen -y prints that of an identity"
        if text.upper().startswith("AGE-SECRET-KEY-"):
            raise UsageError("An identity, which is secret, was given as a recipient", hint) from error
        raise UsageError(f'"{text}" is not an age recipient ({error})', hint) from error


def _identity(path: Path, text: str) -> Any:
    try:
        return pyrage.x25519.Identity.from_str(text)
    except pyrage.IdentityError as error:
        hint = "An identity begins with AGE-SECRET-KEY-1; age-keygen writes one"
        raise UsageError(f"A line of the identity file {path} is not an age identity ({error})", hint) from error
