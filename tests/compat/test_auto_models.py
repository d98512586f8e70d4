from upstream import moved, require

HOME = "auto_models"
MODULE = "transformers.models.auto.modeling_auto"


def test_what_is_relied_on() -> None:
    for name, kind in (("CAUSAL", "llama"), ("MASKED", "bert")):
        table = require(f"{MODULE}:MODEL_FOR_{name}_LM_MAPPING_NAMES", HOME)
        assert kind in table, moved("transformers", f"'{kind}' is not in MODEL_FOR_{name}_LM_MAPPING_NAMES", HOME)
    from sinkscope.compat import auto_models

    assert "llama" not in auto_models.MODEL_FOR_MASKED_LM_MAPPING_NAMES
