"""Every touch of a name that transformers, torch or huggingface_hub do not promise to keep: one file each, and why."""
