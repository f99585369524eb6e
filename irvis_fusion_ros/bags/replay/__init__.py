"""Replays a bag through the pipeline, offline."""
