"""What runs inside the box; hostile from the first user byte on."""
