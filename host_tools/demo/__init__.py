"""A province to watch on this machine: four villages, a broker, an ingest, and their faults."""
