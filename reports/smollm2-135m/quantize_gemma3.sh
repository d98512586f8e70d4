#!/bin/sh
# What a static scale costs Gemma 3 270M, beside a dynamic one: the windows of quantize.sh, cut by its own tokenizer, with <bos>.
# 16 x 256 tokens, no ranking; the minutes are in README.md.
set -eu
. "$(dirname "$0")/common.sh"
python "$here/../real_models.py" gemma3
[ -e "$runs/quantize-gemma3/run.json" ] ||
    sinkscope quantize $gemma3 --methods none,w8a8-dynamic,w8a8-static,w8a8-static-down --data stdlib-prose \
        --calibration-data stdlib-code --bos always --sequences 16 --tokens 256 --rank-sequences 0 \
        --out "$runs/quantize-gemma3"
check quantize-gemma3.json quantize-gemma3
