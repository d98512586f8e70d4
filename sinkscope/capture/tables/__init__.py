"""From what was recorded to the declared tables: the last step that touches tensors."""
