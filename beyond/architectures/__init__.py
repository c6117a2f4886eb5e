"""Recipes for networks, one a file: `make conf` finds them here."""
