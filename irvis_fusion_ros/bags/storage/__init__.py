"""The storage files of bags: SQLite and MCAP, compressed or not, whole or not."""
