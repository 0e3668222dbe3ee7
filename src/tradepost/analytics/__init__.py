"""What the numbers say: sales by day and by listing beside the orders they come from, and what visitors do, as events.

Promises that what is read of sales is what the orders say at that moment: a day that changed since it was summed up is summed up
while it is read, until the job has done it. Events of visitors are counts, not accounts: they are written in batches some seconds
later, an orderly end of the process loses none, a crash those of the last seconds. Nobody outside ever hears of them. It never
changes an order, and counts no money: the books do.
"""
