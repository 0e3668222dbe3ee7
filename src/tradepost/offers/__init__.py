"""Prices that people propose to each other for things on the community feed.

Owns offers and secret floor prices. Promises one open offer a buyer and listing; that an offer changes its state once, whoever is
faster; that an accepted one holds the item from the same transaction on; and that a floor price is read by nobody but its seller
and the job that declines, which does so after a while, as a person would. It does not take money: an accepted offer is checked out
like a cart.
"""
