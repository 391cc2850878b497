"""Study of what helps a model generalise: short trainings that differ in one thing each."""
