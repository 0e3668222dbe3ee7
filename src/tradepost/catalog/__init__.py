"""What is offered: categories, places, listings, their variants, prices, stock and pictures.

Owns listings and everything below them, and the only code that changes stock. Promises that stock is never oversold nor
negative, that a variant has one price a currency at any moment, and that a listing belongs to a seller or to an outside
source, never both. It does not search, does not know orders (reservations carry an order's id as a plain value).
"""
