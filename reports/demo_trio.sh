#!/bin/sh
# The demo trio: nothing, V-scale, or its backward pass alone on the values. The packaged models stand for two of it, so that only
# the third is trained. Half an hour on one core, and it goes on where it was interrupted. demo.sh must have run before;
# `python reports/keep.py RUNS` then takes over what is committed. The mini trio is reproduction.sh's.
set -eu
runs=${1:-runs}
mkdir -p "$runs"
cd "$runs"
new() { [ ! -e "$1/run.json" ]; }                # whether a run is still to be made
train() { # train RECIPE OUT OPTION...
    recipe=$1 out=$2
    shift 2
    sinkscope pretrain "$recipe" --out "$out" "$@" $([ ! -e "$out" ] || echo --resume)
}

[ -e train/demo-backward-only/model ] || train demo-backward-only train/demo-backward-only
! new demo-backward-only || sinkscope analyze train/demo-backward-only/model --out demo-backward-only --resume
! new demo-trio || sinkscope compare demo demo-vscale demo-backward-only --out demo-trio
