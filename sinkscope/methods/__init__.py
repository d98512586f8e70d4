"""Quantization methods: by which names they go, and how a model is put under one.

`choose` holds all methods by name, `library` those of other libraries, `probes` those of our own with `rounding`,
`linear_modules` and `calibration`. `under` puts a model that a verb measures under one of them.
"""
