"""Subscriptions and publishers of the node, and their quality of service."""
