"""Searches that people keep.

Owns them with their names and the moment each was last looked at. Promises that a person keeps a search once, however it was
written, that what is kept can be asked again as it is, and that a removed one can come back for a day. Does not search: how many
listings are new is counted by the flow, with the same search that everybody uses.
"""
