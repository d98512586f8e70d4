"""A model under a probe as a checkpoint of compressed-tensors, the format that vLLM and transformers read.

`schemes` says which probes have a scheme there, and why others have none; `write` writes the folder. The library that
owns the format packs, names and describes what is stored; what is stored are the probe's own codes and scales.
"""
