"""What the store tells people: letters by e-mail.

Owns the letters on their way and what sends them. Promises that a letter is written in the transaction that caused it, that it is
stored encrypted until the mail server has taken it, and that nothing in it can become a header. It does not decide who is told
what: flows do.
"""
