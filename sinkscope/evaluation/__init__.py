"""What a model can do: perplexity of a text, needles found in a haystack, and tasks of lm-evaluation-harness."""
