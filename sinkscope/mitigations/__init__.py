"""What is done about outliers before a model is rounded: by which names mitigations go, and how each is put on a model.

`registry` holds all of them by name, a file each: `smooth`, `rotate`, `prefix`, `clip`, `keep`. `mitigation` says what
one is, `structure` which linear maps surround a norm, `sites` what is left of the outliers. Before rounding, a
mitigated model computes what it computed before.
"""
