"""A simulated province, signed like a real one, and the truth about it.

In the order of the data's path: `regimes` (the tables), `world` (what happens in each village),
`samples`, `signing` and `reports` (what its devices make of it), `delivery` (when the province
receives it), `run` (all villages in one order), `storing` or `mqtt` (into the province), `truth`
(what was true), `compare` (what was derived, beside the truth). `province` founds it, `contracts`
gives it contracts and events.
"""
