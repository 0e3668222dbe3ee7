"""Outside markets: how each is read, and what every reading of it brought.

Owns the runs with their reports, the settings that say how a source's rows become listings, and the reading itself: feeds,
pages, robots.txt, pacing. Promises that reading is a stream (the size of a feed never shows in memory), that a row which cannot be
understood is reported with its place and reason and spoils nothing else, that a run which was interrupted goes on where it was,
and that nothing of our own network is reached. Listings themselves belong to the catalogue: this module says what a row means and
never writes one. It does not sign in anywhere and does not get around a site's refusal.
"""
