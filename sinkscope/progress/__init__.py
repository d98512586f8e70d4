"""What a person sees while something runs: the stage it is in, how far that is, and the time left. Imports no torch."""
