"""Start the fusion node as a process, watch it through /diagnostics, end it in order."""
