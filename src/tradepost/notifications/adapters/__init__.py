"""The ways for letters to leave the house: a mail server, or none."""
