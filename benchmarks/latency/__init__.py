"""How fast the engines are, and the yardstick that they are compared with."""
