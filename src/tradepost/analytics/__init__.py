"""What the numbers say: sales by day and by listing, kept as summaries beside the orders they come from.

Promises that what is read is what the orders say at that moment: a day that changed since it was summed up is summed up while
it is read, until the job has done it. It never changes an order, and counts no money: the books do.
"""
