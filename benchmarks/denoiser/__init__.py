"""Measures diffusion priors as denoisers: see `__main__`."""
