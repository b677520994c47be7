"""Thread pools that keep the jobs running: one polls, one delivers, and liveness tells whether they move."""
