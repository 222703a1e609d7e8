"""Programs as a user starts them: from a PATH of our own, in an empty home, with the output in the error."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

_TIMEOUT_S = 300.0


def environment(home: Path, *folders: Path) -> dict[str, str]:
    """Returns an environment in which the programs of `folders` are found first, and nothing of this user's is."""
    path = os.pathsep.join([*map(str, folders), "/usr/bin", "/bin"])
    return {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", "CLUSTERCTL_DISABLE_VERSIONCHECK": "true"}


async def output_of(
    command: Sequence[str | Path], env: dict[str, str], *, exit_code: int = 0, folder: Path | None = None
) -> str:
    """Returns what a program has printed, run in `folder`; it must end with `exit_code`."""
    name, *arguments = map(str, command)
    found = next((path for each in env["PATH"].split(os.pathsep) if (path := Path(each, name)).is_file()), name)
    process = await asyncio.create_subprocess_exec(
        found, *arguments, env=env, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _TIMEOUT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = output.decode()
    assert process.returncode == exit_code, f"{command}\n{text}"
    return text
