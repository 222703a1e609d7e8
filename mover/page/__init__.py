"""Pages to look around in: one file each, opened offline, without anything that an object holds."""

from mover.page.chronicle import Chronicle, Chronicler
from mover.page.plan import plan_page
from mover.page.report import report_page

__all__ = ["Chronicle", "Chronicler", "plan_page", "report_page"]
