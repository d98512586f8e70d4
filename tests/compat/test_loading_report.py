"""The method of transformers that forgives, and the question whether peft is installed, are where they were."""

from upstream import require

HOME = "loading_report"


def test_what_is_relied_on() -> None:
    base = "transformers.modeling_utils:PreTrainedModel"
    require(f"{base}._adjust_missing_and_unexpected_keys", HOME, "self", "loading_info")
    require(f"{base}._keys_to_ignore_on_load_unexpected", HOME)
    require("transformers.integrations.peft:is_peft_available", HOME)
    require("transformers.models.auto.auto_factory:is_peft_available", HOME)
