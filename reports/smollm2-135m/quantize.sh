#!/bin/sh
# What each method of quantization costs, and which modules hurt. Prose is evaluated, code is calibrated on.
# 16 x 256 tokens; the minutes are in README.md. llm-compressor's environment is made on the first run.
set -eu
. "$(dirname "$0")/common.sh"
methods=none,w8a8-dynamic,w8a8-static,w8a8-static-down,w8,w4,nf4,int8,torchao-int8,torchao-int8-weights,smoothquant,gptq,awq
[ -e "$runs/quantize/run.json" ] ||
    sinkscope quantize $smollm2 --methods $methods --data stdlib-prose --calibration-data stdlib-code --sequences 16 \
        --tokens 256 --rank-sequences 2 --allow-install --out "$runs/quantize"
check quantize.json quantize
