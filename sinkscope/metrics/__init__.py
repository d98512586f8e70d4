"""The definitions as pure functions: tensors in, tensors out. Imports torch and nothing else."""
