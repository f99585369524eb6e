"""What the pixel-wise maximum gets wrong, and whether the models get it right."""
