#!/bin/sh
# Does the sink belong to the token or to the position? Prose and code, each with <bos> in front of every window and without.
# Four analyses of 16 x 1024 tokens; the minutes are in README.md. It goes on where it was interrupted.
set -eu
. "$(dirname "$0")/common.sh"
for data in stdlib-prose stdlib-code; do
    for bos in never always; do
        run=$runs/analyze/$data-bos-$bos
        [ -e "$run/run.json" ] ||
            sinkscope analyze $smollm2 --data $data --bos $bos --sequences 16 --tokens 1024 --out "$run" --resume
    done
done
sinkscope compare never="$runs/analyze/stdlib-prose-bos-never" always="$runs/analyze/stdlib-prose-bos-always" \
    --allow-mismatch --out "$runs/bos" --force
check analyze analyze
