"""What was bought: orders over several sellers, their lines, fulfilments and history.

Owns orders and the processes (states, transitions, timers, effects) they move through. Promises that an order's totals equal
the sum of its lines and shipping at all times, that only a declared transition changes a state, and that every move is
recorded with actor and time. It does not charge money or touch stock: flows do, by the effects a transition names.
"""
