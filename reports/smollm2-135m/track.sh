#!/bin/sh
# The checkpoints that finetune.sh left, and its finished model, on one text: 3 of them, 4 x 256 tokens; the minutes are in
# README.md. It goes on where it was interrupted.
set -eu
. "$(dirname "$0")/common.sh"
[ -e "$runs/track/run.json" ] ||
    sinkscope track "$runs/finetune" --data stdlib-prose --sequences 4 --tokens 256 --out "$runs/track" --resume
