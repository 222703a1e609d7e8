"""The pages of docs/, read by tests."""

from __future__ import annotations

from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def python_of(page: str) -> str:
    """Returns the Python of a page as one program, every line of it where it is on the page."""
    lines, inside = [], False
    for line in page.splitlines():
        fence = line.startswith("```")
        inside = line == "```python" if fence else inside
        lines.append(line if inside and not fence else "")
    return "\n".join(lines).rstrip() + "\n"
