#!/bin/sh
# V-scale on the finished model, started at the paper's constant as calibrated on its value norms, with a control.
# 80 steps of 4 x 256 tokens twice, and three analyses; about an hour and a half on two cores. Goes on where it stopped.
set -eu
here=$(dirname "$0")
run=${1:-runs/smollm2-135m}/finetune
model=$(python "$here/../real_models.py" smollm2)
[ -e "$run/run.json" ] ||
    sinkscope finetune "$model" --vscale --steps 80 --tokens 256 --batch-sequences 4 --valid-sequences 16 \
        --checkpoint-every 20 --evaluate-every 20 --resume --out "$run"
