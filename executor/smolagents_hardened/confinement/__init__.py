"""What the box may do, as data and pure functions."""
