"""Alerts: who must know of what, once (docs/alerts.md).

In the order of the data's path: `settings` (rules, teams and channels, as data), `places` (what a
slot shares with others), `view` (what the province knows now), `grouping` and `watch` (what to
alert), `texts` and `post` (the messages), `outbox` and `channels` (their way), `digest`, `service`
(the loop). `records` is the database alerts.db.
"""
