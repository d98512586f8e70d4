"""Models: which architectures are known, where their parts are, and how their attention and experts are tapped."""
