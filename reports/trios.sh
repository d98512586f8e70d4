#!/bin/sh
# The trios: nothing, V-scale, or its backward pass alone on the values. The packaged models stand for two of the demo trio, so that
# only the third is trained; of the mini trio nine models are. About two hours on one core, and it goes on where it was
# interrupted. demo.sh must have run before; `python reports/keep.py RUNS` then takes over what is committed.
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

seeds="0 1 2"
runs_of() { # runs_of RECIPE: its runs by seed, with commas
    list=
    for seed in $seeds; do list=$list${list:+,}$1-$seed; done
    echo "$list"
}
for recipe in mini mini-vscale mini-backward-only; do
    [ -e train/$recipe/seed-2/model ] || train $recipe train/$recipe --seeds 3
    for seed in $seeds; do
        ! new $recipe-$seed || sinkscope analyze train/$recipe/seed-$seed/model --out $recipe-$seed --resume
    done
done
! new mini-trio ||
    sinkscope compare "mini=$(runs_of mini)" "mini-vscale=$(runs_of mini-vscale)" \
        "mini-backward-only=$(runs_of mini-backward-only)" --paired-seeds --out mini-trio
! new mini-track || sinkscope track train/mini/seed-0 --sequences 16 --out mini-track --resume
