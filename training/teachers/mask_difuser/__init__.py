"""The Mask-DiFuser teacher."""
