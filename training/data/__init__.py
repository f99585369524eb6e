"""Training pairs: listing, reading, sampling, augmentation."""
