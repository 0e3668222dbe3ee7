"""What people write to each other: conversations, who takes part, messages.

Owns conversations, participants and messages. Promises that the messages of a conversation are numbered without gaps in the
order of their commits, so that whoever knows the last number they saw misses nothing and sees nothing twice; that what is unread
is counted by the database; that a conversation of two about one thing exists once; that nobody else can read it; and that
nothing is written between two of whom one has blocked the other. It does not know listings or orders: flows do.
"""
