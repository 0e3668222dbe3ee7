"""Where and how things reach the buyer: addresses now; slots, riders and hand-over belong here too.

Promises that an address is stored encrypted. It does not know orders.
"""
