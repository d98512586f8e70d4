"""Models: which architectures are known, how they are loaded, and where their attention is tapped."""
