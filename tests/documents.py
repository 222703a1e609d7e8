"""What the documents show: their pages, the commands and programs in them, and why some commands are run by no test."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
PROGRAM = "capi-mover"

RUN = frozenset((PROGRAM, "kubectl", "clusterctl", "grep"))
"""Programs that test_doc_commands runs; the test bed has them."""

PLUGINS: Mapping[tuple[str, ...], str] = {("clusterctl", "pymove"): "move", ("kubectl", "capi-move"): "move"}
"""The beginning of a plugin's command line -> the command of ours that it is."""

NOT_RUN: Mapping[str, str] = {
    "age-keygen -o identity.txt": "no age in the test bed; the stage has such a file",
    "age-keygen -y identity.txt": "no age in the test bed; the stage has such a file",
    "curl --data-binary @move.prom http://pushgateway:9091/metrics/job/capi-mover": "no Pushgateway in the test bed",
    "docker build -f Containerfile -t registry.example.com/capi-mover:0.1.0 .": "no engine here; CI builds it",
    "uv tool install dist/*.whl": "test_package installs the wheel",
    ".venv/bin/python -m benchmarks --only moves,floor --sizes 100,800 --output mine.json": "takes most of an hour",
    ".venv/bin/python -m benchmarks --render": "writes into the repository; test_benchmark_document does the same",
}
"""Commands of the documents that no test runs -> why. What is `make`'s is in the Makefile, which is checked."""

_BLOCK = re.compile(r"^(?P<indent> *)```console\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`(?P<text>(?:[A-Z]+=\S+ )?(?:capi-mover|make) [^`]+)`(?!`)")
_COMMENT = re.compile(r"(?:^|\s)#(?=\s|$)")
_EXIT = re.compile(r"exits with (?P<code>\d+)")
_ASSIGNMENT = re.compile(r"[A-Z_]+=")
_ENDS = frozenset("|&;<>")


GIVEN_FILES = frozenset(f"{name}.kubeconfig" for name in ("source", "bootstrap", "target", "cluster"))
"""The kubeconfigs that the documents take for granted."""

_MADE = re.compile(r"[\w-]+(/|\.(plan|html|jsonl|kubeconfig))")
_WHERE = frozenset({"-n", "--namespace", "--kubeconfig", "--to-kubeconfig", "--context"})


@dataclass(frozen=True, slots=True)
class Command:
    """A command line of a document.

    Attributes:
        page: The document, from the repository's root.
        line: Its line there, from 1.
        text: The whole line, with what is piped or redirected, and without its comment.
        comment: What is said of it.
    """

    page: str
    line: int
    text: str
    comment: str = ""

    @property
    def parts(self) -> tuple[tuple[str, ...], ...]:
        """Returns the words of each command of a pipeline, without assignments before it and redirections behind it."""
        parts: list[list[str]] = [[]]
        words = iter(_words(self.text))
        for word in words:
            if not _ENDS.issuperset(word):
                parts[-1].append(word)
            elif set(word) <= {"<", ">"}:
                next(words)
            else:
                parts.append([])
        return tuple(tuple(_without_assignments(part)) for part in parts)

    @property
    def ours(self) -> tuple[str, ...]:
        """Returns our command in it and its arguments, also where it is called as a plugin; () without one."""
        for words in self.parts:
            if words[:1] == (PROGRAM,):
                return words[1:]
            if words[:2] in PLUGINS:
                return PLUGINS[words[:2]], *words[2:]
        return ()

    @property
    def kind(self) -> tuple[tuple[str, ...], ...]:
        """Returns what tells one sort of command from another: program, verb, flags; not where it works, nor values."""
        return tuple((*words[:2], *_telling_flags(words)) for words in self.parts)

    @property
    def files(self) -> frozenset[str]:
        """Returns the files and folders in it that are not there from the beginning."""
        return frozenset(word for words in self.parts for word in words if _MADE.fullmatch(word)) - GIVEN_FILES

    @property
    def is_run(self) -> bool:
        """Returns whether a test runs it."""
        return all(words[0] in RUN for words in self.parts)

    @property
    def exit_code(self) -> int:
        """Returns the exit code that its comment promises ("exits with 5"), 0 without one."""
        promised = _EXIT.search(self.comment)
        return int(promised["code"]) if promised else 0

    @property
    def place(self) -> str:
        """Returns where it is, for messages."""
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, slots=True)
class Block:
    """A block of command lines that a reader gives one after the other."""

    page: str
    line: int
    commands: tuple[Command, ...]


def pages() -> tuple[Path, ...]:
    """Returns all documents: those beside the README, and those in docs."""
    return (*sorted(REPOSITORY.glob("*.md")), *sorted(DOCS.rglob("*.md")))


def to_run(*, every: bool = True) -> dict[str, list[Command]]:
    """Returns the commands that a test runs, by document: every one, or of each kind the first.

    A command whose files earlier ones of its document have made brings these along.
    """
    found: dict[str, list[Command]] = {}
    seen: set[tuple[tuple[str, ...], ...]] = set()
    for page, commands in _runnable().items():
        for number, command in enumerate(commands):
            if every or command.kind not in seen:
                makers = [one for one in commands[:number] if one.files & command.files]
                chosen = found.setdefault(page, [])
                chosen.extend(one for one in (*makers, command) if one not in chosen)
        seen.update(command.kind for command in commands)
    return found


def _runnable() -> dict[str, list[Command]]:
    by_page: dict[str, list[Command]] = {}
    for block in blocks():
        by_page.setdefault(block.page, []).extend(command for command in block.commands if command.is_run)
    return {page: commands for page, commands in by_page.items() if commands}


def blocks() -> tuple[Block, ...]:
    """Returns the console blocks of all documents, in their order."""
    return tuple(block for page in pages() for block in blocks_of(page.read_text(), _name(page)))


def blocks_of(text: str, page: str) -> Iterator[Block]:
    """Yields the console blocks of a document."""
    for match in _BLOCK.finditer(text):
        first = text.count("\n", 0, match.start("body")) + 1
        commands = tuple(
            Command(page, first + number, text, comment)
            for number, line in _joined(match["body"].splitlines())
            for text, comment in [_parted(line)]
            if text
        )
        yield Block(page, first - 1, commands)


def inline() -> tuple[Command, ...]:
    """Returns the commands that are shown within a sentence or a table."""
    found = []
    for page in pages():
        text = page.read_text()
        for match in _INLINE.finditer(text):
            shown = match["text"].replace(r"\|", "|").replace("…", "")
            found.append(Command(_name(page), text.count("\n", 0, match.start()) + 1, shown))
    return tuple(found)


def python_of(page: str) -> str:
    """Returns the Python of a page as one program, every line of it where it is on the page."""
    lines, inside = [], False
    for line in page.splitlines():
        fence = line.startswith("```")
        inside = line == "```python" if fence else inside
        lines.append(line if inside and not fence else "")
    return "\n".join(lines).rstrip() + "\n"


def _name(page: Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


def _joined(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yields lines with their number; a line that ends with a backslash and the next ones are one."""
    begun, text = 0, ""
    for number, line in enumerate(lines):
        begun = begun if text else number
        text += line.strip().removesuffix("\\")
        if not line.endswith("\\"):
            yield begun, text
            text = ""


def _parted(line: str) -> tuple[str, str]:
    """Returns a command and its comment."""
    text, *comment = _COMMENT.split(line, maxsplit=1)
    return text.strip(), "".join(comment).strip()


def _words(text: str) -> Iterator[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    lexer.commenters = ""
    yield from lexer


def _telling_flags(words: Sequence[str]) -> list[str]:
    """Returns the flags that say what is done; of those that say where, only what is given more than once."""
    flags = Counter(word.partition("=")[0] for word in words if word.startswith("-"))
    return sorted(flag for flag, number in flags.items() if flag not in _WHERE or number > 1)


def _without_assignments(words: Sequence[str]) -> Sequence[str]:
    first = next((number for number, word in enumerate(words) if not _ASSIGNMENT.match(word)), len(words))
    return words[first:]
