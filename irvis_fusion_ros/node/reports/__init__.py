"""What the node reports: diagnostics, latencies, the engine log."""
