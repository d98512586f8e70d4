"""The pages of a reproduction: verdicts first, then the paper's tables and figures in its order, ours beside its."""
