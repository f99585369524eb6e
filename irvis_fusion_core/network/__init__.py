"""The student network, its weights on disk, its export and its analysis."""
