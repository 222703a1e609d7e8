"""The floor sends the writes of a move to objects again, free of what ties them to the recorded move."""

import orjson

from benchmarks.floor import Write, chained, is_write_of_object
from mover.kube.transport import JSON_PATCH, MERGE_PATCH, Request

_PATH = "/api/v1/namespaces/fleet/secrets"


def _patch(name: str, body: object, content_type: str = MERGE_PATCH) -> Request:
    return Request("PATCH", f"{_PATH}/{name}", {}, orjson.dumps(body), content_type)


def test_reads_rehearsals_reviews_records_and_leases_are_no_writes_of_objects() -> None:
    record = "/api/v1/namespaces/default/configmaps"
    others = (
        Request("GET", _PATH),
        Request("POST", _PATH, {"dryRun": "All"}, b"{}", created="one"),
        Request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {}, b"{}"),
        Request("POST", record, {}, b"{}", created="capi-mover.fleet"),
        Request("PUT", "/apis/coordination.k8s.io/v1/namespaces/capi-mover/leases/capi-mover.fleet", {}, b"{}"),
    )

    assert not any(map(is_write_of_object, others))
    assert is_write_of_object(Request("POST", _PATH, {}, b"{}", created="one"))
    assert is_write_of_object(Request("DELETE", f"{_PATH}/one", {}, b"{}"))


def test_the_writes_of_an_object_stay_in_their_order_and_deletions_come_last() -> None:
    made = Request("POST", _PATH, {}, orjson.dumps({"metadata": {"name": "one"}}), created="one")
    status = Request("PATCH", f"{_PATH}/one/status", {}, b"[]", JSON_PATCH)
    paused, stripped = _patch("one", {"spec": {"paused": True}}), _patch("one", {"metadata": {"finalizers": []}})
    gone = Request("DELETE", f"{_PATH}/one", {}, b"{}")
    writes = [Write("source", paused), Write("target", made), Write("target", status)]
    writes += [Write("source", stripped), Write("source", gone)]

    copies, deletions = chained(writes)

    assert {subject: [write.request for write in chain] for subject, chain in copies.items()} == {
        f"source {_PATH}/one": [paused],
        f"target {_PATH}/one": [made, status],
    }
    assert {subject: [write.request for write in chain] for subject, chain in deletions.items()} == {
        f"source {_PATH}/one": [stripped, gone],
    }


def test_uids_and_versions_of_the_recorded_move_are_left_out() -> None:
    stripped = _patch("one", {"metadata": {"resourceVersion": "7", "uid": "u", "finalizers": []}})
    gone = Request("DELETE", f"{_PATH}/one", {}, orjson.dumps({"preconditions": {"uid": "u"}, "kind": "DeleteOptions"}))

    _, deletions = chained([Write("source", stripped), Write("source", gone)])

    bodies = [orjson.loads(write.request.body or b"") for chain in deletions.values() for write in chain]
    assert bodies == [{"metadata": {"finalizers": []}}, {"kind": "DeleteOptions"}]
