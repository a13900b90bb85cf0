"""Reading runs, comparing them, and showing what they found."""
