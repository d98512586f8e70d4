"""From which value a continuous measure is called large, where the literature fixes none: a choice, made once."""

LARGE_RATIO = 50.0  # largest entry over the median; a normal distribution stays below 10, whatever the model's size
GRADIENT_SINK = 2.0  # R_GS from which token 0 is said to stand out; equation (6) itself fixes no threshold
LARGE_NORM = 2.0  # residual norm of token 0 over that of early tokens
