"""The interventions by name, each with its controls. To add one: a function in a module here, its name in `choose`."""
