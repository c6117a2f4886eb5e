"""Hydra finds sweepers in this name space alone."""
