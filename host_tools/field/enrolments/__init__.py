"""Enrolments without a network: the log on the technician's laptop.

`record` is one enrolment, countersigned by the technician; `log` is their hash chain. The province
imports it (office/importing.py).
"""

from host_tools.field.enrolments.log import EnrolmentLog
from host_tools.field.enrolments.record import LogError, Record, parse_record
from host_tools.field.enrolments.site import MeasuredSite

__all__ = ["EnrolmentLog", "LogError", "Record", "MeasuredSite", "parse_record"]
