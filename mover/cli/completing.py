"""What a shell completes beside flags and their choices. Whatever goes wrong, nothing is completed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import typer


def complete_checks(incomplete: str) -> list[tuple[str, str]]:
    """Returns the checks of the preflight that can be left out, each with what it asks."""
    from mover.checks.registry import CHECKS

    return [(check.name, check.question) for check in CHECKS if not check.guards and check.name.startswith(incomplete)]


def complete_source_context(ctx: typer.Context, incomplete: str) -> list[str]:
    """Returns the contexts of the source's kubeconfig."""
    return _matching(ctx.params.get("kubeconfig"), incomplete)


def complete_target_context(ctx: typer.Context, incomplete: str) -> list[str]:
    """Returns the contexts of the target's kubeconfig."""
    return _matching(ctx.params.get("to_kubeconfig"), incomplete)


def _matching(given: object, incomplete: str) -> list[str]:
    files = [Path(str(given))] if given else _default_files()
    found = dict.fromkeys(name for file in files for name in _contexts(file))
    return [name for name in found if name.startswith(incomplete)]


def _default_files() -> list[Path]:
    named = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    return [Path(part) for part in named.split(os.pathsep) if part]


def _contexts(file: Path) -> Iterator[str]:
    """Yields the names of a file's contexts; none of one that is no kubeconfig."""
    import yaml

    try:
        content = yaml.load(file.expanduser().read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return
    entries = content.get("contexts") if isinstance(content, Mapping) else None
    for entry in entries if isinstance(entries, Iterable) else ():
        if isinstance(entry, Mapping) and isinstance(entry.get("name"), str):
            yield entry["name"]
