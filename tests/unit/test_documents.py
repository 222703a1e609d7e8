"""The documents are true: their commands parse, their links lead somewhere, their lists are whole."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer
from typer.core import TyperCommand, TyperGroup

from mover.cli import app
from tests import documents
from tests.documents import DOCS, NOT_RUN, PROGRAM, REPOSITORY, RUN, Command, blocks_of

DECISIONS = DOCS / "decisions"
INDEX = DECISIONS / "README.md"

_LINK = re.compile(r"!?\[[^\]]*\]\((?P<to>[^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (?P<text>.+)$", re.MULTILINE)
_FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_FLAG = re.compile(r"`(--?[a-z][a-z-]*)")
_HELP_EXAMPLE = re.compile(r"^ +Example: (?P<text>capi-mover .+)$", re.MULTILINE)


def _shown() -> tuple[Command, ...]:
    return tuple(command for block in documents.blocks() for command in block.commands)


def _examples_of_the_help() -> tuple[Command, ...]:
    modules = sorted((REPOSITORY / "mover" / "cli").glob("*.py"))
    return tuple(
        Command(module.name, 0, match["text"])
        for module in modules
        for match in _HELP_EXAMPLE.finditer(module.read_text())
    )


def _ours(commands: tuple[Command, ...]) -> list[tuple[str, ...]]:
    """Returns the words of each different command line of ours."""
    return sorted({command.ours for command in commands if command.ours})


@cache
def _group() -> TyperGroup:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    return group


def _command(name: str) -> TyperCommand:
    found = _group().commands[name]
    assert isinstance(found, TyperCommand)
    return found


def _parse(words: tuple[str, ...]) -> None:
    """Parses a command line without running it; leaves as the program would if it cannot be understood."""
    group = _group()
    name, _, rest = group.resolve_command(group.make_context(PROGRAM, list(words)), list(words))
    assert name is not None
    _command(name).make_context(name, rest)


@pytest.mark.parametrize("words", _ours((*_shown(), *_examples_of_the_help())), ids=shlex.join)
def test_every_command_that_is_shown_can_be_understood(words: tuple[str, ...]) -> None:
    _parse(words)


@pytest.mark.parametrize("words", _ours(documents.inline()), ids=shlex.join)
def test_every_command_and_flag_in_a_sentence_is_there(words: tuple[str, ...]) -> None:
    flags = [word.partition("=")[0] for word in words if word.startswith("-") and word != "--help"]
    name = next((word for word in words if not word.startswith("-")), None)
    command = _command(name) if name else _group()
    known = {option for parameter in command.params for option in parameter.opts}
    assert set(flags) <= known


@pytest.mark.parametrize("words", [("move", "--no-such-flag"), ("no-such-command",), ("move", "--parallel-units", "x")])
def test_what_is_not_there_is_found_out(words: tuple[str, ...]) -> None:
    with pytest.raises(Exception, match=r"(?i)no such|valid integer"):
        _parse(words)


def test_every_target_of_make_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = {
        word
        for command in (*_shown(), *documents.inline())
        for part in command.parts
        if part[0] == "make"
        for word in part[1:]
        if "=" not in word
    }
    assert named
    assert named - targets == set()


def test_every_other_command_is_run_or_has_a_reason_not_to_be() -> None:
    others = {
        " ".join(part): command.place for command in _shown() for part in command.parts if part[0] not in (*RUN, "make")
    }
    unknown = {f"{place}: {text}" for text, place in others.items() if text not in NOT_RUN}
    assert not unknown, "run them in test_doc_commands, or say in tests/documents.py why not"
    assert set(NOT_RUN) - set(others) == set(), "these are in no document any more"


def test_of_each_kind_of_command_the_first_is_run_with_what_has_made_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "one.md": ["capi-mover plan -n a --save a.plan", "capi-mover move -n a --to-kubeconfig target.kubeconfig"],
        "two.md": [
            "capi-mover move --to-kubeconfig source.kubeconfig --namespace b",
            "capi-mover move -n b -n c --to-kubeconfig target.kubeconfig",
            "capi-mover plan -n b --save b.plan",
            "capi-mover move --plan b.plan",
        ],
    }
    shown = {page: [Command(page, number, text) for number, text in enumerate(lines)] for page, lines in texts.items()}
    blocks = tuple(documents.Block(page, 0, tuple(commands)) for page, commands in shown.items())
    monkeypatch.setattr(documents, "blocks", lambda: blocks)
    assert documents.to_run() == shown
    assert documents.to_run(every=False) == {"one.md": shown["one.md"], "two.md": shown["two.md"][1:]}


def test_lines_and_comments_and_pipes_are_told_apart() -> None:
    lines = (
        "A=1 capi-mover plan -o html > x.html  # a page",
        "",
        "# nothing",
        "one -a \\",
        "  -b | two  # exits with 5",
    )
    (block,) = blocks_of("\n".join(("```console", *lines, "```", "")), "page.md")
    page, piped = block.commands
    assert (page.text, page.line, page.exit_code) == ("A=1 capi-mover plan -o html > x.html", 2, 0)
    assert page.parts == (("capi-mover", "plan", "-o", "html"),)
    assert (piped.parts, piped.exit_code) == ((("one", "-a", "-b"), ("two",)), 5)


def _table(page: Path, heading: str) -> Iterator[str]:
    """Yields the first cells of the table below a heading."""
    below = page.read_text().split(f"\n{heading}\n", 1)[1]
    for line in below.splitlines():
        if line.startswith("| `-"):
            yield line.split("|")[1]
        elif line.startswith("#"):
            return


@pytest.mark.parametrize(
    ("page", "heading", "command"),
    [(REPOSITORY / "README.md", "## Flags", "move"), (DOCS / "pivot.md", "## Flags", "pivot")],
)
def test_a_table_of_flags_lists_those_that_the_command_has(page: Path, heading: str, command: str) -> None:
    listed = [flag for cell in _table(page, heading) for flag in _FLAG.findall(cell)]
    options = [parameter for parameter in _command(command).params if parameter.name != "help"]
    unlisted = {parameter.opts[0] for parameter in options if not set(parameter.opts) & set(listed)}
    assert unlisted == set()
    assert set(listed) - {option for parameter in options for option in parameter.opts} == set()
    assert len(set(listed)) == len(listed)


def test_a_plugin_is_understood_as_the_command_that_it_is() -> None:
    assert Command("p", 1, "kubectl capi-move -n metal3").ours == ("move", "-n", "metal3")
    assert Command("p", 1, "kubectl get pods | grep x").ours == ()


def _prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text())


def _anchors(page: Path) -> set[str]:
    """Returns the anchors of a page's headings, as GitHub and MkDocs make them."""
    found = [re.sub(r"[^\w\- ]", "", match["text"].lower()).strip() for match in _HEADING.finditer(_prose(page))]
    return {text.replace(" ", "-") for text in found}


@pytest.mark.parametrize("page", documents.pages(), ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    broken = []
    for match in _LINK.finditer(_prose(page)):
        path, _, anchor = match["to"].partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        to = (page.parent / path).resolve() if path else page
        if not to.exists() or (anchor and anchor not in _anchors(to)):
            broken.append(match["to"])
    assert broken == []


def test_the_readme_leads_to_every_page() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    linked = {match["to"].partition("#")[0] for match in _LINK.finditer(readme)}
    there = {page.relative_to(REPOSITORY).as_posix() for page in documents.pages()} - {"README.md"}
    assert {page for page in there if not page.startswith("docs/decisions/")} - linked == set()
    assert "docs/decisions/README.md" in linked


def test_the_index_of_decisions_lists_each_with_its_title_in_their_order() -> None:
    rows = re.findall(r"^\| \[(\d{4})\]\(([^)]+)\) \| (.+?) \|", INDEX.read_text(), re.MULTILINE)
    wanted = []
    for record in sorted(DECISIONS.glob("[0-9]*.md")):
        number, _, title = record.read_text().splitlines()[0].removeprefix("# ").partition(": ")
        wanted.append((number, record.name, title))
    assert rows == wanted


def test_every_message_that_the_troubleshooting_table_quotes_is_one_of_ours() -> None:
    text = (DOCS / "operating.md").read_text().split("\n## Troubleshooting\n", 1)[1]
    quoted = re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)
    code = "".join(path.read_text() for path in sorted((REPOSITORY / "mover").rglob("*.py")))
    assert len(quoted) >= 10
    assert [message for message in quoted if message not in code] == []


def test_the_example_of_a_scenario_is_one_of_the_catalogue() -> None:
    examples = re.findall(
        r"^```python\n(.+?)^```$", (REPOSITORY / "CONTRIBUTING.md").read_text(), re.MULTILINE | re.DOTALL
    )
    catalogue = "".join(path.read_text() for path in (REPOSITORY / "tests/differential/catalogue").glob("*.py"))
    assert len(examples) == 1
    assert examples[0] in catalogue
