"""Files that go into a box and come out of it."""
