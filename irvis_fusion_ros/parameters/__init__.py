"""The parameter table, the settings made from it, and the files generated from it."""
