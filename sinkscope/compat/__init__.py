"""Every touch of a name that another library does not promise to keep: one file per idea, and why.

Attention, masks, experts and loading are reached where transformers, torch and others have no public way in. Each file
here says what it needs of them, why, and what public way would replace it. No other room touches such names
(tests/test_private_names.py says what counts as a touch), so that a new release is a matter of these files.

Each file has a test of the same name in tests/compat, which looks the names up, checks how they are called, and does
what is relied on with them on something tiny. It says what moved, and runs before all other tests. Whether a newer
release can be used, in an environment of its own:

    python -m venv /tmp/newer
    /tmp/newer/bin/pip install -c constraints.txt . pytest scipy peft
    /tmp/newer/bin/pip install transformers==5.25.0
    /tmp/newer/bin/pytest tests/compat

The newer release is installed by itself because pip refuses it together with a sinkscope whose ceiling is lower; alone
pip warns of that. Where these pass, tests/models, tests/vscale and tests/test_against_reference.py say whether it also
computes the same. The ceiling in pyproject.toml is the newest release for which all of them did.
"""
