"""Reasons to pay less: promo codes and loyalty points.

Owns codes, their uses, points accounts and their entries. Promises that a code is never used more often than it may be, by
all or by one person, that points are never negative and always the sum of their entries, and that what an unpaid order took
is given back. It does not price an order: flows do, with its rules.
"""
