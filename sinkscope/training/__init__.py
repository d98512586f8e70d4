"""Training: recipes in, models and their metrics out."""
