"""run.json: what a run says of itself, declared key by key, and begun in one place for all kinds of run."""
