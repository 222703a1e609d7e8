"""Every command that the documents show is run, and ends as they say."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests import documents
from tests.documents import Command
from tests.integration.doc_stage import Stage, stage_of
from tests.testbed.pair import Pair


def _by_page() -> dict[str, list[Command]]:
    """Returns the commands that are to be run, by document."""
    found: dict[str, list[Command]] = {}
    for block in documents.blocks():
        for command in block.commands:
            if command.is_run:
                found.setdefault(block.page, []).append(command)
    return found


COMMANDS = _by_page()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(second_pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    made = stage_of(second_pair, tmp_path_factory.mktemp("folder") / "page")
    yield made
    await made.close()


@pytest.mark.parametrize("page", COMMANDS)
async def test_the_commands_of_a_document_end_as_it_says(stage: Stage, page: str) -> None:
    stage.begin_page()
    for command in COMMANDS[page]:
        outcome = await stage.run(command)
        assert outcome.exit_code == command.exit_code, f"{command.place}: {command.text}\n{outcome.output}"
        assert "Traceback" not in outcome.output, f"{command.place}: {command.text}\n{outcome.output}"
