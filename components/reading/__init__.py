"""What those who look ask of the warehouse: each question bounded, never a whole table."""
