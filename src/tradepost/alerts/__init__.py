"""Alerts: searches that people keep, and that find by themselves what is new.

Owns them with their names and how each tells its person, the index by which a new or changed listing finds its alerts, and what they
found. Promises that a person keeps a search once, however it was written, that what is kept can be asked again as it is, that a
removed one can come back for a day, and that every listing that comes or changes while an alert is in force is found by it once,
whatever changed the listing. Does not tell anybody: flows do, with notifications.
"""
