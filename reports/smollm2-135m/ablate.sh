#!/bin/sh
# What the outliers of SmolLM2 do: each kind taken away, against as much taken away elsewhere; and a sliding cache of 48 of
# 192 tokens with 0, 1, 2 and 4 first tokens kept. 8 x 192 tokens of prose, 3 controls each; the minutes are in README.md.
# What to take away is read from the analysis of that prose (analyze.sh). It goes on where it was interrupted.
set -eu
. "$(dirname "$0")/common.sh"
what=massive-zero,massive-mean,sink-attention,cache:0+48,cache:1+47,cache:2+46,cache:4+44,super-weights,sink-value
[ -e "$runs/ablate/run.json" ] ||
    sinkscope ablate $smollm2 --from "$runs/analyze/stdlib-prose-bos-never" --what $what \
        --data stdlib-prose --bos never --sequences 8 --tokens 192 --draws 3 --measured 1 --out "$runs/ablate" --resume
check ablate.json ablate
