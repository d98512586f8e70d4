#!/bin/sh
# What each method of quantization costs, and which modules hurt. Prose is evaluated, code is calibrated on.
# 16 x 512 tokens; about 40 minutes on two cores. llm-compressor's environment is made on the first run.
set -eu
here=$(dirname "$0")
run=${1:-runs/smollm2-135m}/quantize
model=$(python "$here/../real_models.py" smollm2)
[ -e "$run/run.json" ] ||
    sinkscope quantize "$model" --data stdlib-prose --calibration-data stdlib-code --sequences 16 --tokens 512 \
        --methods none,w8a8-dynamic,w8a8-static,w8a8-static-down,w8,w4,nf4,int8,torchao-int8,torchao-int8-weights,smoothquant,gptq,awq \
        --rank-sequences 2 --allow-install --out "$run"
python "$here/../check_numbers.py" "$here/quantize.json" "$run"
