"""What the store tells people: within it, by e-mail, by push and to their own programs.

Owns notices with their ways to people, how each wants to hear of what, and letters on their way with what sends them. Promises that a
notice is written in the transaction that caused it, once for each person, kind and subject, and goes once by each channel that its
person wants, not before its time; that a letter is stored encrypted until the mail server has taken it, and that nothing in it can
become a header. It does not decide who is told what: flows do.
"""
