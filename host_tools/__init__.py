"""The province's side of Desalink: keys, enrolment, broker, ingest, figures, command line."""

__version__ = "0.1.0"
