"""A run from its command line to the rows on disk."""
