"""What things are made of: ingredients, how much of each goes into one of a listing, and how much is there.

Promises that an ingredient's stock is the sum of its movements, each with a reason and who made it, and that a day's baking is
taken from stock once, however often it is noted. It knows listings by their ids and orders not at all: flows say what is needed.
"""
