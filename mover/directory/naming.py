"""Which object is in which file.

clusterctl calls a file `<Kind>_<namespace>_<name>.yaml` (objectgraph.go, getFilename): of two kinds with one name in
different API groups, Metal3's and Cluster API's IPAddress for example, the later overwrites the earlier. No reader
looks at the names, so they may be changed where they would collide (docs/decisions/0007).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection

from graph.resource import ObjectKey

SUFFIX = ".yaml"
ENCRYPTED_SUFFIX = ".age"
_LONGEST_BYTES = 255 - len(ENCRYPTED_SUFFIX)
_DIGEST_CHARACTERS = 16


def file_names(keys: Collection[ObjectKey]) -> dict[ObjectKey, str]:
    """Returns the name of each object's file; no two are the same, not even where the case of letters is ignored.

    That is clusterctl's name. Where several objects would have it, it includes the API group; where that is of no
    help either, or too long for a file system, a digest of the key.

    Example:
        >>> [*file_names([ObjectKey("cluster.x-k8s.io", "Cluster", "metal3", "prod")]).values()]
        ['Cluster_metal3_prod.yaml']
    """
    names = {key: _plain(key) for key in keys}
    for longer in (_with_group, _with_digest):
        names = _lengthened(names, longer)
    return names


def _lengthened(names: dict[ObjectKey, str], longer: Callable[[ObjectKey], str]) -> dict[ObjectKey, str]:
    counts = Counter(name.casefold() for name in names.values())
    return {
        key: name if counts[name.casefold()] == 1 and len(name.encode()) <= _LONGEST_BYTES else longer(key)
        for key, name in names.items()
    }


def _plain(key: ObjectKey) -> str:
    return f"{key.kind}_{key.namespace}_{key.name}{SUFFIX}"


def _with_group(key: ObjectKey) -> str:
    kind = f"{key.kind}.{key.group}" if key.group else key.kind
    return f"{kind}_{key.namespace}_{key.name}{SUFFIX}"


def _with_digest(key: ObjectKey) -> str:
    digest = hashlib.sha256(f"{key.group}/{key.kind}/{key.namespace}/{key.name}".encode()).hexdigest()[
        :_DIGEST_CHARACTERS
    ]
    tail = f".{digest}{SUFFIX}"
    head = _with_group(key).removesuffix(SUFFIX).encode()[: _LONGEST_BYTES - len(tail)]
    return head.decode(errors="ignore") + tail
