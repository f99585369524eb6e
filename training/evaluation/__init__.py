"""Scores of fused images and the evaluation report."""
