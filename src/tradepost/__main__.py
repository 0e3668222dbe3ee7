"""`python -m tradepost` is `tradepost`."""

from tradepost.cli import main

main()
