"""Bytes to messages and back: stdlib only, no I/O, no clock, the same code on both sides of the wire."""
