"""A random model of any configuration, written to a folder shard by shard and never whole in memory.

    python tests/benchmarks/random_model.py FOLDER --preset 300m
    python tests/benchmarks/random_model.py FOLDER --hidden 2048 --layers 16 --dtype bfloat16

The tensors' names and shapes are those of the configuration's own model, built on the meta device; each is drawn in
blocks, in its final dtype, and its shard written as soon as it is full. Matrices have the configuration's initializer
range as standard deviation, norms' gains lie around 1, and biases are zero.

Freshly initialized weights attend almost evenly. With `--sinks` the model has what an analysis looks for: the first
token's embedding carries a few entries of hundreds, and the queries and keys are scaled up, which makes heads that
prefer some keys. The tokenizer knows one token per byte, whatever the vocabulary.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedTokenizerFast

BOS, EOS = "<bos>", "<eos>"
_BLOCK = 2**24  # numbers drawn at once
_SHARPNESS = 4.0  # factor on queries and keys with sinks
_MASSIVE = 300.0

PRESETS: dict[str, dict[str, Any]] = {
    "300m": {
        "hidden": 1024, "layers": 16, "mlp": 4096, "heads": 16, "kv_heads": 8, "vocabulary": 32000, "dtype": "float32",
    },
    "3b": {
        "hidden": 2560, "layers": 32, "mlp": 9216, "heads": 20, "kv_heads": 5, "vocabulary": 50304, "dtype": "bfloat16",
    },
    "405b-slice": {
        "hidden": 16384, "layers": 2, "mlp": 53248, "heads": 128, "kv_heads": 8, "vocabulary": 128256,
        "dtype": "bfloat16",
    },
}  # fmt: skip
_DEFAULTS = {
    "hidden": 256, "layers": 4, "mlp": 704, "heads": 4, "kv_heads": 4, "vocabulary": 2048, "dtype": "float32",
}  # fmt: skip


class Written(NamedTuple):
    """What was written: parameters (a tied head once), bytes and shards."""

    parameters: int
    bytes: int
    shards: int


def write_random_model(
    folder: Path,
    config: PreTrainedConfig,
    *,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    sinks: bool = False,
    shard_bytes: int = 2**30,
) -> Written:
    """Writes a random model in transformers' format.

    Args:
        folder: its place; made where it is missing, and otherwise empty.
        config: of a causal LM.
        dtype: of the stored weights.
        seed: of the weights.
        sinks: gives token 0 a massive activation, and sharpens queries and keys.
        shard_bytes: a shard is closed when it has reached this size; no more than a shard is in memory.

    Raises:
        FileExistsError: if the folder holds something.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")
    with torch.device("meta"):
        skeleton = AutoModelForCausalLM.from_config(config, dtype=dtype)
    parameters = dict(skeleton.named_parameters())
    # `named_parameters` names a shared tensor once, by its first name, and so does a checkpoint.
    generator = torch.Generator().manual_seed(seed)
    std = float(getattr(config.get_text_config(), "initializer_range", 0.02))
    table = skeleton.get_input_embeddings().weight
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(_shards(parameters, shard_bytes), start=1):
        tensors = {}
        for name in shard:
            tensor = _drawn(name, parameters[name], std, generator, sinks=sinks)
            if sinks and parameters[name] is table:
                tensor[0, : min(10, tensor.shape[1])] = _MASSIVE
            tensors[name] = tensor
        file = f"model-{number:05d}.safetensors"
        save_file(tensors, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, file)
        del tensors
    total = sum(p.numel() * p.element_size() for p in parameters.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")
    config.dtype = dtype
    config.architectures = [type(skeleton).__name__]
    config.save_pretrained(folder)
    vocabulary = int(config.get_text_config().vocab_size)
    byte_tokenizer(vocabulary, int(config.get_text_config().max_position_embeddings)).save_pretrained(folder)
    return Written(sum(p.numel() for p in parameters.values()), total, len(set(weight_map.values())))


def byte_tokenizer(vocabulary: int, context: int) -> PreTrainedTokenizerFast:
    """One token per byte, with <bos> put before every text; ids above 257 are never used.

    Args:
        vocabulary: size of the model's embedding, at least 258.
        context: its longest window.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    if vocabulary < len(alphabet) + 2:
        raise ValueError(f"a byte-level tokenizer needs a vocabulary of at least {len(alphabet) + 2}")
    ids = {token: number for number, token in enumerate([BOS, EOS, *alphabet])}
    core = Tokenizer(models.BPE(vocab=ids, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, 0), (EOS, 1)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token=BOS, eos_token=EOS, model_max_length=context)


def llama_config(
    *, hidden: int, layers: int, mlp: int, heads: int, kv_heads: int, vocabulary: int, context: int, **more: Any
) -> PreTrainedConfig:
    """A configuration by a few numbers.

    Args:
        hidden: D.
        layers: number of decoder layers.
        mlp: width of the MLP.
        heads: query heads.
        kv_heads: key/value heads.
        vocabulary: V.
        context: longest window.
        **more: other values; `model_type` names another architecture than Llama.
    """
    values = {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": mlp,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": context,
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    return AutoConfig.for_model(more.pop("model_type", "llama"), **{**values, **more})


def _shards(parameters: dict[str, Tensor], limit: int) -> Iterator[list[str]]:
    """Names in order, a list per shard; a tensor larger than the limit has a shard of its own."""
    names: list[str] = []
    size = 0
    for name, parameter in parameters.items():
        own = parameter.numel() * parameter.element_size()
        if names and size + own > limit:
            yield names
            names, size = [], 0
        names.append(name)
        size += own
    yield names


def _drawn(name: str, like: Tensor, std: float, generator: torch.Generator, *, sinks: bool) -> Tensor:
    """One tensor, drawn in blocks of float32 that are rounded into place."""
    out = torch.empty(like.shape, dtype=like.dtype)
    if name.endswith("bias"):
        return out.zero_()
    mean, scale = (1.0, 0.1) if like.dim() == 1 else (0.0, std)
    if sinks and ("q_proj" in name or "k_proj" in name):
        scale *= _SHARPNESS
    flat = out.view(-1)
    for start in range(0, flat.numel(), _BLOCK):
        part = flat[start : start + _BLOCK]
        part.copy_(torch.empty(part.numel()).normal_(mean, scale, generator=generator))
    return out


def main() -> None:
    """Writes a model and says what it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", choices=PRESETS, help="values that the options below then replace")
    for name in ("hidden", "layers", "mlp", "heads", "kv-heads", "vocabulary"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--context", type=int, default=32768)
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--model-type", default="llama", help="an architecture of transformers with Llama's names")
    parser.add_argument("--sliding-window", type=int, help="of architectures that have one, as mistral")
    parser.add_argument("--tied", action="store_true", help="the head is the embedding")
    parser.add_argument("--sinks", action="store_true", help="a massive first token, and sharp queries and keys")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shard-mib", type=int, default=1024)
    options = vars(parser.parse_args())
    given = {name: options[name] for name in _DEFAULTS if options[name] is not None}
    shape = {**_DEFAULTS, **PRESETS.get(options["preset"], {}), **given}
    dtype = getattr(torch, shape.pop("dtype"))
    more = {"model_type": options["model_type"], "tie_word_embeddings": options["tied"]}
    if options["sliding_window"] is not None:
        more["sliding_window"] = options["sliding_window"]
    config = llama_config(**shape, context=options["context"], **more)
    written = write_random_model(
        options["folder"],
        config,
        dtype=dtype,
        seed=options["seed"],
        sinks=options["sinks"],
        shard_bytes=options["shard_mib"] * 2**20,
    )
    gib = written.bytes / 2**30
    print(f"{options['folder']}: {written.parameters:,} parameters, {gib:.2f} GiB in {written.shards} shards")


if __name__ == "__main__":
    main()
