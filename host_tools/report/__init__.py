"""The month as a report: pages, tables and figures by which the province pays."""
