"""Quantization methods of other libraries, one thin file each. `sinkscope.methods.choose` lists them."""
