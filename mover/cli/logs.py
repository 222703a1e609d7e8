"""Our own log on stderr, as text or as JSON lines."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import TextIO

from mover.cli.options import HiddenWarnings, LogFormat
from mover.moment import micro_time

_DEBUG_FROM, _INFO_FROM = 5, 3


def set_up_logging(verbosity: int, hidden: HiddenWarnings, form: LogFormat = LogFormat.TEXT) -> None:
    """Sends our own log to stderr: retries from verbosity 3, everything from 5, API warnings as asked for."""
    level = logging.DEBUG if verbosity >= _DEBUG_FROM else logging.INFO if verbosity >= _INFO_FROM else logging.WARNING
    handler = _StderrHandler()
    handler.setFormatter(JsonFormatter() if form is LogFormat.JSON else logging.Formatter(_TEXT))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("capi-mover").setLevel(level)
    api_warnings = logging.getLogger("capi-mover.api-warnings")
    if hidden is not HiddenWarnings.NONE:
        api_warnings.addFilter(lambda record: hidden is not HiddenWarnings.ALL and not _is_usual(record.getMessage()))


_TEXT = "%(levelname)s %(name)s: %(message)s"
_FINALIZER_WARNING = re.compile(r"metadata\.finalizers:.*prefer a domain-qualified finalizer name")


def _is_usual(warning: str) -> bool:
    """Returns whether a warning is in clusterctl's default set (util/apiwarnings): finalizers without a domain."""
    return bool(_FINALIZER_WARNING.search(warning))


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what is stderr now: while bars are on the screen, that puts lines above them."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: time, level, logger, message, the fields it was logged with, the exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        line = {
            "time": micro_time(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _OWN},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


_OWN = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime"})
"""What every record has: all else was given as `extra`."""
