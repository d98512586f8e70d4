#!/bin/sh
# Does the sink belong to the token or to the position? Prose and code, each with <bos> in front of every window and without.
# Four analyses of 16 x 1024 tokens; about 40 minutes on two cores. It goes on where it was interrupted.
set -eu
here=$(dirname "$0")
runs=${1:-runs/smollm2-135m}/analyze
model=$(python "$here/../real_models.py" smollm2)
for data in stdlib-prose stdlib-code; do
    for bos in never always; do
        run=$runs/$data-bos-$bos
        [ -e "$run/run.json" ] ||
            sinkscope analyze "$model" --data $data --bos $bos --sequences 16 --tokens 1024 --out "$run" --resume
    done
done
sinkscope compare never="$runs/stdlib-prose-bos-never" always="$runs/stdlib-prose-bos-always" \
    --allow-mismatch --out "${runs%/*}/bos" --force
python "$here/../check_numbers.py" "$here/analyze" "$runs"
