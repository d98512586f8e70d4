"""Quantization methods of other libraries, one thin file each. `sinkscope.quant.methods` lists them."""
