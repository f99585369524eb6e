"""Files that go into the repository: exported files, weights, model card."""
