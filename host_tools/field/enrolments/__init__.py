"""Enrolments made without a network: the technician's log, and its import by the province.

`record` is one enrolment as a technician countersigns it, `log` the hash chain of them on the
laptop, `importing` what the province does with it.
"""

from host_tools.field.enrolments.log import EnrolmentLog
from host_tools.field.enrolments.record import LogError, Record, parse_record

__all__ = ["EnrolmentLog", "LogError", "Record", "parse_record"]
