"""What was intended and what came of it, in a record that shows tampering."""
