"""Tables made from a study's tables."""
