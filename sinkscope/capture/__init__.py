"""From a running model to reductions of what it computed: hooks, attention columns, gradients."""
