#!/bin/sh
# V-scale on the finished model, started from a C that is read off its own value norms, with a control.
# 80 steps of 4 x 256 tokens twice, and three analyses; the minutes are in README.md. It goes on where it was interrupted.
set -eu
. "$(dirname "$0")/common.sh"
[ -e "$runs/finetune/report/run.json" ] ||
    sinkscope finetune $smollm2 --vscale --steps 80 --tokens 256 --batch-sequences 4 --valid-sequences 16 \
        --checkpoint-every 20 --evaluate-every 20 --out "$runs/finetune" $([ ! -e "$runs/finetune" ] || echo --resume)
