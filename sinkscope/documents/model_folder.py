"""The JSON files of a model folder, as far as this project and the size of a model depend on them.

They belong to transformers, which knows hundreds of architectures and reads the same files itself. Declared here are
the values that many of them share, by all names that they have: sizes that make no model, or one that only fails once
it computes, are refused by name before transformers reads anything. What else a file says is left to transformers, and
what that raises is translated where it is called (`loading.weights`, `planning.configured`).
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from sinkscope.documents.types import THEIRS, Flag, Name, NotNegative, Number, Positive, Share, Size, Text, Whole

Sizes = Size | list[Size] | None
"""A size of the model, or one per layer."""
TokenIds = Whole | list[Whole] | None


class Rope(BaseModel):
    """`rope_parameters`, and `rope_scaling` as it was before; those of single kinds of layers lie inside."""

    model_config = THEIRS

    rope_type: Text | None = None
    type: Text | None = None
    rope_theta: Positive | None = None
    factor: Positive | None = None
    partial_rotary_factor: Positive | None = None
    original_max_position_embeddings: Size | None = None
    low_freq_factor: Positive | None = None
    high_freq_factor: Positive | None = None
    short_factor: list[Positive] | None = None
    long_factor: list[Positive] | None = None
    mrope_section: list[Size] | None = None


class Quantization(BaseModel):
    """`quantization_config`, of a checkpoint that is stored quantized."""

    model_config = THEIRS

    quant_method: Text | None = None
    bits: Annotated[int, Field(strict=True, ge=1, le=64)] | None = None
    load_in_4bit: Flag | None = None
    load_in_8bit: Flag | None = None


class TextConfig(BaseModel):
    """The sizes of a model of text, in a file of their own or inside that of a model with other towers."""

    model_config = THEIRS

    model_type: Name | None = None
    num_hidden_layers: Size | None = None
    n_layer: Size | None = None
    n_layers: Size | None = None
    num_layers: Size | None = None
    hidden_size: Sizes = None
    n_embd: Size | None = None
    d_model: Size | None = None
    intermediate_size: Sizes = None
    ffn_hidden_size: Sizes = None
    num_attention_heads: Sizes = None
    n_head: Size | None = None
    num_key_value_heads: Sizes = None
    num_kv_heads: Size | None = None
    head_dim: Sizes = None
    v_head_dim: Size | None = None
    kv_lora_rank: Size | None = None
    vocab_size: Size | None = None
    max_position_embeddings: Size | None = None
    n_positions: Size | None = None
    sliding_window: Whole | None = None
    layer_types: list[Text] | None = None
    rms_norm_eps: NotNegative | None = None
    layer_norm_eps: NotNegative | None = None
    layer_norm_epsilon: NotNegative | None = None
    norm_epsilon: NotNegative | None = None
    initializer_range: NotNegative | None = None
    attention_dropout: Share | None = None
    rope_theta: Positive | None = None
    rope_parameters: Rope | None = None
    rope_scaling: Rope | None = None
    residual_multiplier: Number | None = None
    tie_word_embeddings: Flag | None = None
    dtype: Text | None = None
    torch_dtype: Text | None = None
    eos_token_id: TokenIds = None
    bos_token_id: TokenIds = None
    pad_token_id: TokenIds = None
    return_dict: Literal[True] | None = None

    @model_validator(mode="after")
    def _heads_share(self) -> "TextConfig":
        heads, shared = self.num_attention_heads, self.num_key_value_heads
        if isinstance(heads, int) and isinstance(shared, int) and heads % shared:
            raise ValueError(f"one whose {heads} heads are a multiple of its {shared} key/value heads")
        return self


class Config(TextConfig):
    """config.json."""

    model_type: Name
    architectures: list[Text] | None = None
    text_config: TextConfig | None = None
    quantization_config: Quantization | None = None
    is_encoder_decoder: Flag | None = None
    is_decoder: Flag | None = None


class GenerationConfig(BaseModel):
    """generation_config.json, which transformers reads with every model."""

    model_config = THEIRS

    eos_token_id: TokenIds = None
    bos_token_id: TokenIds = None
    pad_token_id: TokenIds = None
    max_length: Whole | None = None
    max_new_tokens: Whole | None = None
    do_sample: Flag | None = None
    temperature: Number | None = None
    top_k: Whole | None = None
    top_p: Number | None = None


class Index(BaseModel):
    """model.safetensors.index.json: which shard holds which weight."""

    model_config = THEIRS

    metadata: dict[Text, Any]
    weight_map: Annotated[dict[Name, Name], Field(min_length=1)]


class Adapter(BaseModel):
    """adapter_config.json: that a folder holds an adapter, and of which model."""

    model_config = THEIRS

    base_model_name_or_path: Text | None = None
