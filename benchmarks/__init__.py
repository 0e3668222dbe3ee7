"""Measurements against a floor or a peer in the same run; `python benchmarks/run.py` prints them and ends with one line of JSON."""
