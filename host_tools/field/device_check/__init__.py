"""What a real board is like, measured on itself: the report that its first owner sends back."""

from host_tools.field.device_check.report import Figure, page, write_report
from host_tools.field.device_check.run import check_board, figures

__all__ = ["Figure", "check_board", "figures", "page", "write_report"]
