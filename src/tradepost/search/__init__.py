"""Finding listings by words, meaning, place, price and attributes.

Owns the search documents with their statistics, synonyms, weights and vectors, and the log of searches. Promises that a new or
changed listing is findable by its text when its transaction commits, that its vector follows in a job, that the cost of a search
is bounded whatever is asked (never more than a few thousand rows are ranked), and that any text is answered. Does not show
results, and does not know how vectors are made (core/embeddings).
"""
