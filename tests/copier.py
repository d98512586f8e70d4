"""A Llama that copies, with weights set by hand: wherever the last four tokens stood before, it goes on as they did.

This is the induction circuit (Olsson et al. 2022), in two layers of attention alone.

Layer 0 has four heads. Head k attends to the token k + 1 places back, and to nothing else: its queries and keys are
constant biases, which the rotary embedding turns into a function of the distance alone, with its maximum at k + 1. It
copies that token's code, a random vector of signs, into a part of the residual stream of its own.

Layer 1 has one head that does anything. Its query at position i is made of the codes of tokens i, i-1, i-2, i-3, its
key at position j of those of j-1, j-2, j-3, j-4, so that its score is highest where the text before j reads as the text
up to i does. They lie in the slowest rotary frequencies, for which any distance within the context is nearly no
rotation. Its value is the code of token j, which the output matrix turns into a prediction. MLPs add nothing.

The rotary base is such that one head holds both fast frequencies, for layer 0, and slow ones, for layer 1.
"""

import math
import re

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sinkscope.evaluation import needles
from sinkscope.evaluation.needle_words import ADJECTIVES, NOUNS

CONTEXT = 512
CODE = 20  # signs per token
BACK = 4  # tokens that are matched
HEAD = 128
BASE = 1e12
SHARP = 60.0  # scores of layer 0: how far the token that is meant stands above its neighbours, at least
BOS, EOS, UNKNOWN = "<bos>", "<eos>", "<unk>"
MATCH = 3.0  # scores of layer 1 per agreeing sign

_PIECES = (
    r" [A-Za-z]+\b|[\s\S]"  # a word with the blank before it, else single characters: digits, and the letters of UUIDs
)
HAYSTACK = (
    "The wind had been up since dawn and nobody spoke of it. Down by the water men mended nets, and their children ran "
    "between the boats. A bell rang twice. Later that day some rain came, though less than they had hoped for, and the "
    "road to town was empty until evening. Who would walk there now? Old stories say that a king once slept here. He "
    "left nothing behind but a name, and even that has changed. "
)


def haystack(words: int) -> str:
    """At least this many words of the copier's vocabulary."""
    return HAYSTACK * (1 + words // len(HAYSTACK.split()))


def copier(seed: int = 0) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """The model, in evaluation mode, and its tokenizer."""
    tokenizer = _tokenizer()
    codes = _codes(len(tokenizer), seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=CODE * (BACK + 2), intermediate_size=4, num_hidden_layers=2,
        num_attention_heads=BACK, num_key_value_heads=BACK, head_dim=HEAD, max_position_embeddings=CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": BASE}, attention_bias=True, rms_norm_eps=1e-6,
        tie_word_embeddings=False, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.fill_(1.0)
        model.model.embed_tokens.weight[:, _part(0)] = codes
        _look_back_(model)
        _match_(model)
        model.lm_head.weight[:, _part(BACK + 1)] = codes
    return model, tokenizer


def _part(number: int) -> slice:
    """A part of the residual stream: 0 the token's own code, 1..BACK those before it, BACK + 1 the prediction."""
    return slice(number * CODE, (number + 1) * CODE)


def _look_back_(model: LlamaForCausalLM) -> None:
    attention = model.model.layers[0].self_attn
    frequencies = BASE ** (-torch.arange(HEAD // 2) / (HEAD // 2))
    used = frequencies > 0.01  # the rest says nothing about distances of a few tokens
    # At distance D head k scores size * sum_f cos(f (D - k - 1)) / sqrt(HEAD): how much less is that off its maximum?
    distance = torch.arange(1 - CONTEXT, CONTEXT)[:, None]
    scores = torch.cos(distance * frequencies[used]).sum(1) / math.sqrt(HEAD)
    size = SHARP / float(scores.max() - scores[distance[:, 0] != 0].max())
    for head in range(BACK):
        start = head * HEAD
        # The rotary embedding pairs dimension i with i + HEAD / 2.
        attention.k_proj.bias[start : start + HEAD // 2] = used.float()
        angle = -(head + 1) * frequencies
        attention.q_proj.bias[start : start + HEAD // 2] = size * used * torch.cos(angle)
        attention.q_proj.bias[start + HEAD // 2 : start + HEAD] = size * used * torch.sin(angle)
        rows = torch.arange(start, start + CODE)
        # RMSNorm has scaled the one part that is filled by sqrt(parts).
        attention.v_proj.weight[rows, torch.arange(CODE)] = 1 / math.sqrt(BACK + 2)
        attention.o_proj.weight[torch.arange(CODE) + (head + 1) * CODE, rows] = 1.0


def _match_(model: LlamaForCausalLM) -> None:
    attention = model.model.layers[1].self_attn
    slow = [half + i for half in (0, HEAD // 2) for i in range(HEAD // 2 - BACK * CODE // 2, HEAD // 2)]
    scale = math.sqrt(BACK + 1) / math.sqrt(BACK + 2)  # undoes RMSNorm: BACK + 1 parts of signs are filled
    strength = math.sqrt(MATCH * math.sqrt(HEAD)) * scale
    for back in range(BACK):
        rows = torch.tensor(slow[back * CODE : (back + 1) * CODE])
        attention.q_proj.weight[rows, torch.arange(back * CODE, (back + 1) * CODE)] = strength
        attention.k_proj.weight[rows, torch.arange((back + 1) * CODE, (back + 2) * CODE)] = strength
    attention.v_proj.weight[torch.arange(CODE), torch.arange(CODE)] = scale
    attention.o_proj.weight[torch.arange(CODE) + (BACK + 1) * CODE, torch.arange(CODE)] = 1.0


def _codes(count: int, seed: int) -> Tensor:
    """Vectors of signs that differ from each other in at least a fifth of their places, [count, CODE]."""
    random = torch.Generator().manual_seed(seed)
    codes: list[Tensor] = []
    while len(codes) < count:
        code = torch.randint(2, (CODE,), generator=random) * 2.0 - 1
        if all(float(code @ other) <= 0.6 * CODE for other in codes):
            codes.append(code)
    return torch.stack(codes)


def _tokenizer() -> PreTrainedTokenizerFast:
    """A token per word of haystack and keys, and per character for the rest."""
    said = [
        needles.introduction(kind) + needles.question(kind, needles.Needle("", ""))
        for kind in needles.VARIANTS.values()
    ]
    words = {f" {word}" for word in [*ADJECTIVES, *NOUNS]} | set(
        re.findall(r" [A-Za-z]+\b", " ".join([HAYSTACK, *said]))
    )
    characters = {chr(code) for code in range(32, 127)} | {"\n"}
    vocabulary = {piece: number for number, piece in enumerate([BOS, EOS, UNKNOWN, *sorted(words | characters)])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(_PIECES), behavior="isolated")
    core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token=BOS, eos_token=EOS, unk_token=UNKNOWN)
