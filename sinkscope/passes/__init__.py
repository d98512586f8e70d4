"""Passes over windows of text, shared by every verb: micro-batches in, losses out."""
