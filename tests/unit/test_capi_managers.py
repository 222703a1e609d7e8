"""Tests of what surrounds CAPI's managers: their webhook configurations, and the metrics that count the calls."""

from __future__ import annotations

import base64

import pytest

from tests.testbed.capi_managers import AdmissionCount, at_url, parse_admission_counts

_NAME = "apiserver_admission_webhook_admission_duration_seconds"
METRICS = f"""\
# TYPE {_NAME} histogram
{_NAME}_bucket{{name="a",operation="CREATE",rejected="false",type="admit",le="0.005"}} 1
{_NAME}_count{{name="a",operation="CREATE",rejected="false",type="admit"}} 3
{_NAME}_count{{name="a",operation="CREATE",rejected="true",type="admit"}} 2
{_NAME}_count{{name="a",operation="UPDATE",rejected="false",type="admit"}} 4
{_NAME}_sum{{name="a",operation="UPDATE",rejected="false",type="admit"}} 0.5
"""


def test_a_webhook_is_called_at_a_url_with_the_path_of_its_service() -> None:
    service = {"name": "webhook-service", "namespace": "system", "path": "/validate-machine"}
    hook = {"name": "validation.machine", "failurePolicy": "Fail", "clientConfig": {"service": service}}
    body = {"kind": "ValidatingWebhookConfiguration", "metadata": {"name": "validating"}, "webhooks": [hook]}
    made = at_url(body, "https://127.0.0.1:9443", b"PEM", prefix="capi-")
    client = {"url": "https://127.0.0.1:9443/validate-machine", "caBundle": base64.b64encode(b"PEM").decode()}
    assert made == {**body, "metadata": {"name": "capi-validating"}, "webhooks": [{**hook, "clientConfig": client}]}
    assert hook["clientConfig"] == {"service": service}


@pytest.mark.parametrize("text", ["", "up 1\n"])
def test_a_server_that_has_asked_no_webhook_counts_nothing(text: str) -> None:
    assert parse_admission_counts(text) == ()


def test_questions_and_refusals_are_counted_by_webhook_and_operation() -> None:
    assert parse_admission_counts(METRICS) == (
        AdmissionCount("a", "CREATE", asked=5, refused=2),
        AdmissionCount("a", "UPDATE", asked=4, refused=0),
    )
