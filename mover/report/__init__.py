"""Events and results as text: lines, bars, JSON, the summary at the end.

Everything is written to the console, or with the function, that the command line hands in. `mover.report.metrics` is
not imported here: it needs a library of its own, which only those wait for who want its file.
"""

from mover.report.bars import BarView
from mover.report.keeping import Ending, Keeper
from mover.report.lines import LineView, View
from mover.report.status import status_json, status_lines
from mover.report.stream import JsonView, error_json, event_json, report_json
from mover.report.summary import (
    backup_summary,
    restore_summary,
    rolling_summary,
    summary,
    summary_of,
    unit_lines,
    units_json,
)

__all__ = [
    "BarView",
    "Ending",
    "JsonView",
    "Keeper",
    "LineView",
    "View",
    "backup_summary",
    "error_json",
    "event_json",
    "report_json",
    "restore_summary",
    "rolling_summary",
    "status_json",
    "status_lines",
    "summary",
    "summary_of",
    "unit_lines",
    "units_json",
]
