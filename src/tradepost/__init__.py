"""Tradepost: a marketplace engine. A store is settings, a theme and data, never code."""

__version__ = "0.1.0"
