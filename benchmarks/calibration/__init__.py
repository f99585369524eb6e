"""How well unregistered pairs are aligned."""
