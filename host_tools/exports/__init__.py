"""How villages are now, in the formats of other systems: NetJSON and SenML."""
