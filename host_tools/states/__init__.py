"""What people see of a state: its word, its sentence, its group, what to do and who does it."""
