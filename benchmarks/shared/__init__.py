"""Options, pairs, fusions and tables of the benchmarks."""
