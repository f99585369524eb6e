"""What happens before the node exists: shared memory, the log folder."""
