"""Small tokenizers, built as those of released models are: by what normalizes, splits and merges."""

from collections.abc import Callable

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

UNK, BOS, EOS = "<unk>", "<bos>", "<eos>"
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CORPUS = [
    "the quick brown fox jumps over the lazy dog; it's what they'll say, isn't it?\n",
    "numbers 1 22 333 4444, and a naïve café in Zürich where e\u0301 is two characters\n\n",
    "def f(x):\n    return x + 1  # a comment\n\tand a tab\r\nand a line of another system\n",
    "我们走吧。今天天气很好。\nこれは日本語です。\n",
    "one  two   three    four",
] * 20


def _wrapped(core: Tokenizer) -> PreTrainedTokenizerFast:
    core.add_tokens(["<extra>", "foxdog"])
    core.add_special_tokens([BOS, EOS])
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token=BOS, eos_token=EOS)


def _byte_level(*splits: pre_tokenizers.PreTokenizer, normalizer: normalizers.Normalizer | None = None) -> Tokenizer:
    core = Tokenizer(models.BPE())
    if normalizer is not None:
        core.normalizer = normalizer
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not splits)
    core.pre_tokenizer = pre_tokenizers.Sequence([*splits, last]) if splits else last
    trainer = trainers.BpeTrainer(
        vocab_size=500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    core.train_from_iterator(CORPUS, trainer)
    return core


def _isolated(pattern: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def gpt2() -> PreTrainedTokenizerFast:
    """Byte-level BPE as GPT-2's."""
    return _wrapped(_byte_level())


def llama_3() -> PreTrainedTokenizerFast:
    """Byte-level BPE behind a regular expression as Llama 3's."""
    return _wrapped(_byte_level(_isolated(LLAMA_3)))


def o200k() -> PreTrainedTokenizerFast:
    """As gpt-oss has it."""
    return _wrapped(_byte_level(_isolated(O200K)))


def deepseek() -> PreTrainedTokenizerFast:
    """Three splits one after another, and NFC before them, as Qwen has."""
    splits = _isolated(r"\p{N}{1,3}"), _isolated("[\u4e00-\u9fa5\u3040-\u309f]+"), _isolated(DEEPSEEK)
    return _wrapped(_byte_level(*splits, normalizer=normalizers.NFC()))


def _whole(normalizer: normalizers.Normalizer) -> Tokenizer:
    """BPE over the whole text, spaces as letters, trained on pairs of words, so that tokens reach over them."""
    core = Tokenizer(models.BPE(unk_token=UNK, fuse_unk=True))
    core.normalizer = normalizer
    core.pre_tokenizer = _isolated("(?:\u2581+[^\u2581]*){2}")
    trainer = trainers.BpeTrainer(vocab_size=250, special_tokens=[UNK], show_progress=False)
    core.train_from_iterator(CORPUS[:5], trainer)
    core.pre_tokenizer = None
    return core


def gemma() -> PreTrainedTokenizerFast:
    """BPE whose tokens may reach over spaces, as Gemma's: spaces become letters before the text would be split."""
    core = _whole(normalizers.Replace(" ", "\u2581"))
    core.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    return _wrapped(core)


def llama_2() -> PreTrainedTokenizerFast:
    """The same with a space put before each text, as Llama 2's."""
    steps = [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    return _wrapped(_whole(normalizers.Sequence(steps)))


def unigram() -> PreTrainedTokenizerFast:
    """Unigram behind Metaspace, as SentencePiece's."""
    core = Tokenizer(models.Unigram())
    core.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=[UNK], unk_token=UNK, show_progress=False)
    core.train_from_iterator(CORPUS, trainer)
    return _wrapped(core)


def wordpiece() -> PreTrainedTokenizerFast:
    """WordPiece as BERT's."""
    core = Tokenizer(models.WordPiece(unk_token=UNK))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=[UNK], show_progress=False)
    core.train_from_iterator(CORPUS, trainer)
    return _wrapped(core)


def unsplit_unigram() -> PreTrainedTokenizerFast:
    """Unigram over the whole text: a part is weighed as a whole, so nothing may be cut."""
    made = unigram()
    made.backend_tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    return made


def line_by_line() -> PreTrainedTokenizerFast:
    """Splits whose parts are lines: a match reads over spaces."""
    return _wrapped(_byte_level(_isolated(r"[^\n]+|\n+")))


CUT: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "gpt2": gpt2, "llama_3": llama_3, "o200k": o200k, "deepseek": deepseek, "gemma": gemma, "llama_2": llama_2,
    "unigram": unigram, "wordpiece": wordpiece,
}  # fmt: skip
NOT_CUT: dict[str, Callable[[], PreTrainedTokenizerFast]] = {"unsplit_unigram": unsplit_unigram}
