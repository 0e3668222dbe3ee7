"""People: who they are, what they may do, and how they prove it.

Owns users, roles and permissions, sessions, API tokens, outside logins, follows and badges. Promises that names, e-mail
addresses and phone numbers are unique without regard to case, that passwords are Argon2id hashes and that every token is
stored only as a hash. It does not send mail and knows nothing of listings or orders.
"""
