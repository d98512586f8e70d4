#!/bin/sh
# The paper's claims: the trios mini with five seeds and demo with three, trained from nothing, and the two real models,
# of which the claims are tested that need no training. The minutes are in reproduction/README.md, and it goes on where it was interrupted;
# `python reports/keep.py RUNS` then takes over what is committed. The real models need `pip install '.[gguf]'`.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
runs=${1:-runs}
mkdir -p "$runs"
cd "$runs"
reproduce() { # reproduce OUT OPTION...
    out=$1
    shift
    [ -e "$out/report/run.json" ] || sinkscope reproduce "$@" --out "$out" $([ ! -e "$out" ] || echo --resume)
}

reproduce reproduction-mini --scale mini --seeds 5
reproduce reproduction-demo --scale demo --seeds 3
claims() { # claims MODEL SEQUENCES TOKENS
    file=$(python "$here/real_models.py" "$1")
    ln -sf "$file" . # so that no run tells where the model lies
    reproduce "claims-$1" --model "$(basename "$file")" --data stdlib-prose --sequences "$2" --tokens "$3"
}
claims smollm2 16 512
claims gemma3 8 256
