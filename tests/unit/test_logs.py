"""Tests of our own log."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mover.cli.logs import JsonFormatter

PROGRAM = """
import logging, sys
from mover.cli.logs import set_up_logging
from mover.cli.options import HiddenWarnings, LogFormat
set_up_logging(3, HiddenWarnings.DEFAULT, LogFormat(sys.argv[1]))
logging.getLogger("capi-mover.kube").info("trying again (attempt %d)", 2, extra={"cluster": "source", "attempt": 2})
"""


def formatted(record: logging.LogRecord) -> Any:
    line = JsonFormatter().format(record)
    assert "\n" not in line
    return json.loads(line)


def record(**given: Any) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": "capi-mover.kube", "levelname": "INFO", "msg": "a %s", "args": ("b",), **given}
    )


def test_a_record_is_a_line_with_its_time_level_logger_and_message() -> None:
    created = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC).timestamp()
    assert formatted(record(created=created)) == {
        "time": "2026-01-02T03:04:05.678901Z",
        "level": "info",
        "logger": "capi-mover.kube",
        "message": "a b",
    }


def test_fields_are_fields_and_what_json_does_not_know_is_text() -> None:
    line = formatted(record(cluster="source", attempt=2, file=Path("x")))
    assert (line["cluster"], line["attempt"], line["file"]) == ("source", 2, "x")


def test_an_exception_comes_along() -> None:
    error = ZeroDivisionError("ours")
    line = formatted(record(exc_info=(type(error), error, None)))
    assert line["exception"] == "ZeroDivisionError: ours"


def logged(form: str) -> str:
    done = subprocess.run([sys.executable, "-c", PROGRAM, form], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == ""
    return done.stderr


def test_the_log_is_on_stderr_as_it_was_asked_for() -> None:
    assert logged("text") == "INFO capi-mover.kube: trying again (attempt 2)\n"
    line = json.loads(logged("json"))
    assert {**line, "time": ""} == {
        "time": "",
        "level": "info",
        "logger": "capi-mover.kube",
        "message": "trying again (attempt 2)",
        "cluster": "source",
        "attempt": 2,
    }
