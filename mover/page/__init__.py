"""Pages to look around in: one file each, opened offline, without anything that an object holds."""

from mover.page.drawing import Drawer, Drawn
from mover.page.plan import plan_page
from mover.page.report import report_page

__all__ = ["Drawer", "Drawn", "plan_page", "report_page"]
