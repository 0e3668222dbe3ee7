"""Live shows: a host sells in front of a camera, with pinned listings, comments, auctions and giveaways.

Owns streams, their pinned listings, their numbered log, likes, auctions with bids, giveaways with entries. Promises that what
happens in a show is numbered without gaps in the order of the commits, so that who comes back misses nothing and sees nothing
twice; that bids of an auction are one after the other, and that reading them again from the first gives the same winner and
price (`rules.replay`); that a giveaway's draw can be checked by anybody (`rules.draw`). It holds no goods and takes no money:
flows reserve, offer at the agreed price and check out.
"""
