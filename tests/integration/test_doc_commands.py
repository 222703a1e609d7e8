"""Commands that the documents show are run, and end as they say.

Each kind of command (its verbs and the names of its flags) is run where it is shown first; DOC_COMMANDS=all runs every
one (`make test-all`).
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests import documents
from tests.integration.doc_stage import Stage, stage_of
from tests.testbed.pair import Pair

COMMANDS = documents.to_run(every=os.environ.get("DOC_COMMANDS") == "all")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(second_pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    made = stage_of(second_pair, tmp_path_factory.mktemp("folder") / "page")
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("page", "number"), [(page, number) for page in COMMANDS for number in range(len(COMMANDS[page]))]
)
async def test_a_command_of_a_document_ends_as_it_says(stage: Stage, page: str, number: int) -> None:
    """The commands of a document go on with what the earlier ones have left."""
    command = COMMANDS[page][number]
    if not number:
        stage.begin_page()
    outcome = await stage.run(command)
    assert outcome.exit_code == command.exit_code, f"{command.place}: {command.text}\n{outcome.output}"
    assert "Traceback" not in outcome.output, f"{command.place}: {command.text}\n{outcome.output}"
