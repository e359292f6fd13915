"""Training of the small classifiers that guard the assistant; each script writes the weights that course_guard ships."""
