"""How a box is made: one protocol, one module per kind of container."""
