"""Diffusion teachers: slow fusions whose images a student is distilled from."""
