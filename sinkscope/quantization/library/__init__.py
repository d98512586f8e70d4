"""Quantization methods of other libraries, one thin file each. `sinkscope.quantization.methods` lists them."""
