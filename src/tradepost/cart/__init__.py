"""What somebody means to buy, before they do.

Owns carts of people and of visitors who have not signed in. Promises one cart a person and a visitor, one line for the same
variant and configuration, and that a price which changed since it was put in is shown, never silently charged. Stock is not
held by a cart.
"""
