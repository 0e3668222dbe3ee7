"""Reports of abuse, what was decided about them, appeals, and people who block each other.

Owns reports, decisions, appeals and blocks. Promises that a decision names who made it, why and what it did, that it can be
undone whole, that an appeal is decided by somebody else where there is somebody else, and that two people of whom one blocks the
other do not follow each other. What a decision does to listings, reviews and accounts is done by a flow.
"""
