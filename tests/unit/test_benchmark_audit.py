"""Requests are counted once each, by verb, and those that changed nothing apart."""

from typing import Any

import orjson

from benchmarks.audit import Calls, count
from benchmarks.meter import cpu_s


def _event(number: int, verb: str, uri: str = "/api/v1/secrets", **more: Any) -> bytes:
    event = {"auditID": str(number), "verb": verb, "requestURI": uri, "objectRef": {"resource": "secrets"}, **more}
    return orjson.dumps(event)


def test_requests_are_counted_by_verb() -> None:
    lines = [_event(1, "create"), _event(2, "list"), _event(3, "create", responseStatus={"code": 409})]

    assert count(lines) == Calls({"create": 2, "list": 1}, {})


def test_a_watch_is_counted_once_though_it_is_written_at_its_begin_and_at_its_end() -> None:
    lines = [_event(1, "watch", stage="ResponseStarted"), _event(1, "watch", stage="ResponseComplete")]

    assert count(lines).by_verb == {"watch": 1}


def test_rehearsed_requests_are_counted_apart() -> None:
    lines = [_event(1, "create", "/api/v1/secrets?dryRun=All&fieldManager=m"), _event(2, "create", "/x?fieldManager=m")]

    assert count(lines) == Calls({"create": 1}, {"create": 1})


def test_a_request_for_no_resource_is_discovery() -> None:
    line = orjson.dumps({"auditID": "1", "verb": "get", "requestURI": "/apis"})

    assert count([line]).by_verb == {"discovery": 1}


def test_the_processor_time_of_a_server_is_read_from_its_metrics() -> None:
    metrics = "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 1.25e+02\nprocess_open_fds 12\n"

    assert cpu_s(metrics) == 125.0
