"""Use cases that join modules: one file each. A flow opens its own transactions; what it calls joins them."""
