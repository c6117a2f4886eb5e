"""Statistics, figures and a report from a study's tables, and from nothing else."""
