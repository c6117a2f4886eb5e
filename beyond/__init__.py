"""The harness: it knows no concrete method or task."""


def __getattr__(name: str) -> str:
    """`beyond.__version__`, read when it is asked for."""
    if name == "__version__":
        from beyond.installed import version

        return version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
