"""Continuous archiving of a PostgreSQL server, and recovery to a second of its past.

Owns the archive folder: for each timeline of the server its base backups and every piece of its write-ahead log, received as a
standby would by PostgreSQL's own `pg_receivewal`. Promises that what was sealed by the installation's key and changed since is
refused, that a gap is never recovered across, and that a recovery makes a whole new data folder or none. It does not keep
uploaded files, and it does not encrypt.
"""
