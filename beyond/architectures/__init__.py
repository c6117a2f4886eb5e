"""Recipes for networks, one per file: `make conf` finds them here."""
