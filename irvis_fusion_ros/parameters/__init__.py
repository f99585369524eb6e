"""The parameter table and what is derived from it."""
