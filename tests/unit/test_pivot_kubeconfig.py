"""Which Cluster becomes the target, and where its kubeconfig comes from."""

from __future__ import annotations

import base64
import stat

import pytest
import yaml

from graph import rules
from mover.discovery import SECRETS
from mover.errors import UsageError
from mover.kube import Cluster
from mover.pivot.inline import inline_kubeconfig
from mover.pivot.kubeconfig import choose_cluster, find_kubeconfig, kubeconfig_of, private_file
from mover.pivot.memory import new_memory
from mover.pivot.models import PivotOptions
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.graph_builders import NAMESPACE
from tests.unit.mover_builders import INLINE_KUBECONFIG, crd, make

ONE, OTHER = make(rules.CLUSTER, "one"), make(rules.CLUSTER, "other")
TEXT = INLINE_KUBECONFIG
SERVER = "https://c.example.org:6443"
SECRET = make(SECRETS, "one-kubeconfig", data={"value": base64.b64encode(TEXT.encode()).decode()})
OLD = TEXT.replace("c.example.org", "old.example.org")
MEMORY = new_memory(NAMESPACE, "source", "target", PivotOptions()).model_copy(
    update={"cluster": "one", "kubeconfig": OLD}
)


def source(*objects: object) -> Cluster:
    """Returns a management cluster with these objects."""
    server = FakeApiServer()
    server.put(crd(rules.CLUSTER, contract=True), *objects)  # type: ignore[arg-type]
    return server.direct()


def test_the_only_cluster_is_chosen() -> None:
    assert choose_cluster([ONE], "", NAMESPACE) is ONE


def test_the_named_cluster_is_chosen() -> None:
    assert choose_cluster([ONE, OTHER], "other", NAMESPACE) is OTHER


def test_of_several_clusters_one_must_be_named() -> None:
    with pytest.raises(
        UsageError, match=rf"2 Clusters are in .*: {NAMESPACE}/one, {NAMESPACE}/other\. Say with --cluster"
    ):
        choose_cluster([ONE, OTHER], "", NAMESPACE)


def test_a_cluster_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(UsageError, match=rf'no Cluster "two" is in .*; there is: {NAMESPACE}/one'):
        choose_cluster([ONE], "two", NAMESPACE)


def test_without_any_cluster_there_is_no_target() -> None:
    with pytest.raises(UsageError, match="no Cluster is on the source cluster; there is: none"):
        choose_cluster([], "", "")


async def test_the_kubeconfig_is_that_of_the_clusters_secret() -> None:
    found = await find_kubeconfig(source(ONE, SECRET), NAMESPACE, "", None)
    assert (found.cluster, found.server, found.origin) == ("one", SERVER, f"Secret {NAMESPACE}/one-kubeconfig")
    assert yaml.safe_load(found.text)["clusters"] == yaml.safe_load(TEXT)["clusters"]


async def test_a_missing_secret_is_told() -> None:
    with pytest.raises(UsageError, match=f"There is no Secret {NAMESPACE}/one-kubeconfig on the source cluster"):
        await find_kubeconfig(source(ONE), NAMESPACE, "", None)


@pytest.mark.parametrize("objects", [(), (OTHER,), (ONE,), (ONE, OTHER)])
async def test_what_the_move_has_taken_along_is_remembered(objects: tuple[object, ...]) -> None:
    found = await find_kubeconfig(source(*objects), NAMESPACE, "", MEMORY, is_moving=True)
    assert (found.cluster, found.server) == ("one", "https://old.example.org:6443")


async def test_a_memory_is_no_way_to_another_target_while_nothing_has_moved() -> None:
    with pytest.raises(UsageError, match='no Cluster "one" is in'):
        await find_kubeconfig(source(OTHER), NAMESPACE, "", MEMORY)
    with pytest.raises(UsageError, match="There is no Secret"):
        await find_kubeconfig(source(ONE), NAMESPACE, "", MEMORY)
    assert (await find_kubeconfig(source(), NAMESPACE, "", MEMORY)).cluster == "one"


async def test_the_secret_goes_before_the_memory() -> None:
    assert (await find_kubeconfig(source(ONE, OTHER, SECRET), NAMESPACE, "", MEMORY)).server == SERVER


async def test_the_memory_of_another_cluster_does_not_help() -> None:
    with pytest.raises(UsageError, match='no Cluster "two"'):
        await find_kubeconfig(source(), NAMESPACE, "two", MEMORY)


@pytest.mark.parametrize("data", [{}, {"value": "%%%"}, {"value": base64.b64encode(b"\xff\xfe").decode()}])
def test_a_secret_without_a_kubeconfig_is_told(data: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="holds no kubeconfig"):
        kubeconfig_of(make(SECRETS, "one-kubeconfig", data=data))


def test_the_file_is_private_and_goes_away() -> None:
    with private_file(TEXT) as path:
        assert path.read_text() == TEXT
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


def with_user(**user: object) -> str:
    """Returns the kubeconfig with other credentials."""
    config = yaml.safe_load(TEXT)
    config["users"][0]["user"] = user
    return yaml.safe_dump(config)


def with_cluster(**fields: object) -> str:
    """Returns the kubeconfig with other fields of its cluster."""
    config = yaml.safe_load(TEXT)
    config["clusters"][0]["cluster"] |= {name.replace("_", "-"): value for name, value in fields.items()}
    return yaml.safe_dump(config)


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nclusters: [*b, *b]\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (with_user(exec={"command": "touch", "args": ["/tmp/mine"]}), 'the user "c-admin" starts a program'),
        (with_user(**{"auth-provider": {"name": "gcp"}}), "starts an auth-provider"),
        (with_user(tokenFile="/etc/passwd"), "names a file (tokenFile)"),
        (with_user(**{"client-certificate": "/a"}), "names a file (client-certificate)"),
        (with_user(**{"client-key": "/a"}), "names a file (client-key)"),
        (with_user(unheard="of"), "has the field unheard, which is not known"),
        (with_user(token={"nested": "x"}), "is no text"),
        (with_cluster(certificate_authority="/etc/ca"), "names a file (certificate-authority)"),
        (with_cluster(server="http://c.example.org"), "no https address"),
        (with_cluster(server="https://c\x1b[2Jd"), "no https address"),
        (with_cluster(server="https://[::1"), "no https address"),
        (TEXT.replace("current-context: c-admin@c", "current-context: nobody"), "leads to no cluster"),
        (TEXT.replace("clusters: [", "clusters: [{}, "), "no list of different ones"),
        (TEXT + "extra: 1\n", "it is no kubeconfig"),
        (BOMB, "anchors or aliases"),
        ("[" * 3000 + "]" * 3000, "levels deep"),
        ("!!python/object/apply:os.system [id]", "tags"),
        ("a: b\n---\na: c\n", "several documents"),
        ("\t{", "it is not YAML"),
        ("", "it is no kubeconfig"),
        ("x" * 2_000_000, "larger than"),
    ],
)
def test_a_kubeconfig_that_others_can_write_is_data_or_is_refused_by_name(text: str, why: str) -> None:
    with pytest.raises(UsageError, match="The kubeconfig in the Secret ns/x is not used") as caught:
        inline_kubeconfig(text, "Secret ns/x")
    assert why in str(caught.value)
    assert "give that with --to-kubeconfig" in str(caught.value)


def test_another_user_of_the_file_runs_no_program_either() -> None:
    config = yaml.safe_load(TEXT)
    config["users"].append({"name": "other", "user": {"exec": {"command": "x"}}})
    with pytest.raises(UsageError, match='the user "other" starts a program'):
        inline_kubeconfig(yaml.safe_dump(config), "Secret ns/x")
