"""Alerts: who must know of what, once (docs/alerts.md).

In the order of the data's path: `settings` (rules, teams and channels, as data), `places` (what a
slot shares with others), `view` (what the province knows now). Then what is decided at each
`moment`: `troubles`, `own_side`, `grouping` and `watch`. Then the messages and their way: `texts`,
`post`, `outbox`, `channels`, `digest`. `service` is the loop, `records`
the database alerts.db.
"""
