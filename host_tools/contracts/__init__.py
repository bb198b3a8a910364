"""What villages are paid by: contracts, events, rules, and the seconds of a month."""
