"""A model that is known by its configuration alone, read as transformers would build the model from it."""

from dataclasses import dataclass

from transformers import AutoConfig, PretrainedConfig

from sinkscope.errors import SinkscopeError, first_line
from sinkscope.loading.model_folder import CONFIG
from sinkscope.loading.quiet import quiet
from sinkscope.loading.resolve import Resolved


@dataclass(frozen=True)
class ConfiguredModel:
    """A model that is known by its configuration.

    Attributes:
        resolved: what its name stands for.
        config: its configuration, unquantized: sizes are taken from the architecture.
    """

    resolved: Resolved
    config: PretrainedConfig

    @property
    def name(self) -> str:
        """As the user gave it."""
        return self.resolved.name


def read_configuration(resolved: Resolved) -> ConfiguredModel:
    """Has transformers read a model's configuration.

    Args:
        resolved: the model; its folder need not hold more than a config.json.

    Raises:
        SinkscopeError: if transformers does not know its architecture, or refuses its values.
    """
    try:
        with quiet():
            config = (
                resolved.gguf.configuration()
                if resolved.gguf is not None
                else AutoConfig.from_pretrained(str(resolved.folder), local_files_only=True, trust_remote_code=False)
            )
    except Exception as error:  # what a value leads to in one of hundreds of configurations can be of any kind
        raise SinkscopeError(
            f"{resolved.origin}: transformers cannot read its {resolved.gguf_file or CONFIG}: {first_line(error)}"
        ) from error
    if resolved.quantization is not None:
        del config.quantization_config
    return ConfiguredModel(resolved, config)
