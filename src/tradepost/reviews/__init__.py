"""What buyers say about what they bought.

Promises one review a person and listing, from 1 to 5, by somebody who bought it; the listing's average is kept by a trigger.
It does not moderate.
"""
