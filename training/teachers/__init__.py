"""Diffusion teachers: slow fusions whose pictures a student is distilled from."""
