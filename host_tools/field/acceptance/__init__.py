"""The acceptance of a site: its sheet, which the village's officer signs."""

from host_tools.field.acceptance.sheet import AcceptanceError, check_photos, write_acceptance

__all__ = ["AcceptanceError", "check_photos", "write_acceptance"]
