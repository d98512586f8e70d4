#!/bin/sh
# What the outliers of SmolLM2 do: each kind taken away, against as much taken away elsewhere; and a sliding cache of 64 of
# 256 tokens with 0, 1, 2 and 4 first tokens kept. 8 x 256 tokens of prose, 3 controls each; the minutes are in README.md.
# What to take away is read from the analysis of that prose (analyze.sh). It goes on where it was interrupted.
set -eu
. "$(dirname "$0")/common.sh"
what=massive-zero,massive-mean,channel-zero,super-weights,sink-attention,sink-value,sink-heads,first-token
what=$what,cache:0+64,cache:1+63,cache:2+62,cache:4+60
[ -e "$runs/ablate/run.json" ] ||
    sinkscope ablate $smollm2 --from "$runs/analyze/stdlib-prose-bos-never" --what $what --where first,everywhere \
        --cache-positions original,cache --data stdlib-prose --bos never --sequences 8 --tokens 256 --draws 3 \
        --measured 2 --out "$runs/ablate" --resume
check ablate.json ablate
