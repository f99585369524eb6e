"""Training, evaluation and export of students and teachers."""
