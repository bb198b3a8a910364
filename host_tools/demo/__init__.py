"""A province to watch: four villages, a broker, an ingest, their mishaps, all on this machine."""
