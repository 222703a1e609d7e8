"""The packages: what is in them, and that a move works from an installed one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import pytest

from tests.integration.programs import environment, output_of
from tests.testbed import gobuild
from tests.testbed.fleet import FleetSpec, build
from tests.testbed.pair import Pair

ROOT = Path(__file__).parents[2]
VERSION = metadata.version("capi-mover")
INFO = f"capi_mover-{VERSION}.dist-info"
_TIMEOUT_S = 600.0


def _uv() -> Path:
    """Returns the uv that `make` uses, or the one on the PATH."""
    named = os.environ.get("UV") or shutil.which("uv")
    places = [Path(named)] if named else sorted(gobuild.cache_folder().glob("uv-*/bin/uv"))
    if places:
        return places[-1]
    raise FileNotFoundError("packages are built with uv: run `make venv`, or put uv on the PATH")


def _run_uv(*arguments: str | Path, **variables: str) -> None:
    """Runs uv on what it has in its cache, or, if something is missing there, with the network."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")} | variables
    command = [str(_uv()), *map(str, arguments)]
    for more in ({"UV_OFFLINE": "1"}, {}):
        done = subprocess.run(
            command, cwd=ROOT, env=env | more, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
        )
        if done.returncode == 0:
            return
    raise AssertionError(f"{command} failed:\n{done.stderr}")


def _build(out: Path, *arguments: str | Path) -> Path:
    """Returns the package that `uv build` makes."""
    _run_uv("build", "--quiet", "--out-dir", out, *arguments)
    (package,) = (path for path in out.iterdir() if path.suffix in (".whl", ".gz"))
    return package


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build(tmp_path_factory.mktemp("sdist"), "--sdist")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build(tmp_path_factory.mktemp("wheel"), "--wheel")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a virtual environment with the wheel and what it depends on, in the locked versions, and nothing else."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    _run_uv(
        "sync", "--quiet", "--locked", "--no-default-groups", "--no-install-project", UV_PROJECT_ENVIRONMENT=str(venv)
    )
    _run_uv("pip", "install", "--quiet", "--no-deps", "--python", venv / "bin" / "python", wheel)
    _run_uv("pip", "check", "--python", venv / "bin" / "python")
    return venv


def _sources(*folders: str) -> set[str]:
    """Returns the files of folders of the repository."""
    files = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}


def _wheel_files(wheel: Path) -> dict[str, int]:
    """Returns the files of a wheel with their checksums; not the list that has the checksums again."""
    with zipfile.ZipFile(wheel) as archive:
        return {entry.filename: entry.CRC for entry in archive.infolist() if entry.filename != f"{INFO}/RECORD"}


def test_the_wheel_has_all_files_and_their_licences(wheel: Path) -> None:
    information = ("METADATA", "WHEEL", "entry_points.txt", "licenses/LICENSE", "licenses/mover/page/cytoscape.LICENSE")
    files = _sources("graph", "mover")
    assert {"mover/py.typed", "mover/page/base.html", "mover/page/cytoscape.min.js"} <= files
    assert set(_wheel_files(wheel)) == files | {f"{INFO}/{name}" for name in information}


def test_the_sdist_has_what_the_tests_need(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        files = {name.split("/", 1)[1] for name in archive.getnames()}
    around = {"Makefile", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "pyproject.toml", "uv.lock"}
    wanted = around | _sources("graph", "mover", "tests", "benchmarks", "docs")
    assert wanted - files == set()


def test_the_sdist_makes_the_same_wheel(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    assert _wheel_files(_build(tmp_path, "--wheel", sdist)) == _wheel_files(wheel)


@pytest.mark.parametrize("arguments", [["--version"], ["--help"]], ids=str)
async def test_the_installed_program_answers(installed: Path, tmp_path: Path, arguments: Sequence[str]) -> None:
    output = await output_of(["capi-mover", *arguments], environment(tmp_path, installed / "bin"), folder=tmp_path)
    assert output.startswith(f"capi-mover {VERSION}\n" if arguments == ["--version"] else "Usage: capi-mover ")


async def test_the_installed_library_is_typed_and_does_not_come_from_here(installed: Path, tmp_path: Path) -> None:
    code = "import mover, graph; from pathlib import Path; [print(Path(m.__file__).parent) for m in (mover, graph)]"
    output = await output_of([installed / "bin" / "python", "-c", code], environment(tmp_path), folder=tmp_path)
    places = [Path(line) for line in output.splitlines()]
    assert [place.name for place in places] == ["mover", "graph"]
    for place in places:
        assert place.is_relative_to(installed)
        assert (place / "py.typed").exists()


async def test_a_move_works_from_the_installed_package(
    pair: Pair, namespace: str, installed: Path, tmp_path: Path
) -> None:
    spec = FleetSpec(
        namespace=namespace,
        cluster_name=f"{namespace}-c",
        host_name=f"{namespace}-h",
        control_planes=1,
        workers=0,
        paused_conditions=False,
    )
    movable = set((await build(pair.on_source, spec)).movable)
    env = environment(tmp_path, installed / "bin")
    flags = ("--kubeconfig", pair.source.kubeconfig, "-n", namespace)

    page = await output_of(["capi-mover", "plan", *flags, "-o", "html"], env, folder=tmp_path)
    assert (ROOT / "mover" / "page" / "cytoscape.min.js").read_text()[:200] in page

    await output_of(["capi-mover", "move", *flags, "--to-kubeconfig", pair.target.kubeconfig], env, folder=tmp_path)
    assert movable <= set(await pair.target_objects(namespace))
    assert not movable & set(await pair.source_objects(namespace))
