# Read by the scripts beside it: where the runs go, and the models, which are named from the folder that holds them, so
# that no run tells where that is.
here=$(cd "$(dirname "$0")" && pwd)
runs=${1:-runs/smollm2-135m}
mkdir -p "$runs"
runs=$(cd "$runs" && pwd)
cd "$(dirname "$(python "$here/../real_models.py" smollm2)")"
smollm2=SmolLM2-135M-Instruct.Q4_1.gguf
gemma3=gemma-3-270m.Q4_K_M.gguf

# Holds new runs against the committed numbers: check COMMITTED NEW
check() {
    python "$here/../check_numbers.py" "$here/$1" "$runs/$2"
}
