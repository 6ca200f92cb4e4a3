"""What several test rooms share: servers as processes, packets made by hand, answers compared."""
