"""How the database itself does, and what is done to keep it well: sizes, rows, indexes, slow statements, advice, maintenance.

Promises that looking costs a few reads of PostgreSQL's own statistics and never a count of a table, that no statement is shown with
a value of anybody in it, and that whatever maintenance does is on record, what failed as well. It knows no shop: only tables.
"""
