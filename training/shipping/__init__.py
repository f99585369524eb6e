"""What goes into the repository: exported files, weights, model card."""
