"""Technology without a domain word: database, money, ids, clock, errors, settings, cache, jobs, files.

Everything above may import this package; it imports nothing of Tradepost above itself.
"""
