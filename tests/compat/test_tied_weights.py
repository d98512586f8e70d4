import tiny
from upstream import moved

HOME = "tied_weights"


def test_what_is_relied_on() -> None:
    from sinkscope.compat.tied_weights import tied_names

    tied = tiny.build("llama_gqa", tie_word_embeddings=True)
    assert tied_names(tied) == {"lm_head.weight"}, moved("transformers", "_tied_weights_keys lists other names", HOME)
    assert tied_names(tiny.build("llama_gqa")) == set()
