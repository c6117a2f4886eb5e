"""Pure functions of arrays: what repetitions tell, and how sure."""
