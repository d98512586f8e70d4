"""Text in, windows of token ids out: where documents come from and how they are packed."""
