"""Pages to look around in: one file each, opened offline, without anything that an object holds."""

from mover.page.plan import plan_page

__all__ = ["plan_page"]
