"""Plays a bag through the running node and compares it with the offline walk."""
