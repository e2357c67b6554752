"""A WordPiece tokenizer trained on the texts of a task, for encoders that start from scratch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from hf_multilabel.errors import Finding, InputError

SPECIAL_TOKENS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}


# Characters that get a piece of their own; rarer ones become the unknown token.
ALPHABET = 1000


def train_wordpiece(
    texts: Iterable[str], *, vocab_size: int, min_frequency: int, lowercase: bool
) -> PreTrainedTokenizerBase:
    """A BERT-like WordPiece tokenizer; the same texts give the same one, and AutoTokenizer loads it anywhere.

    Args:
        texts: Kept in memory while training.
        vocab_size: Pieces at most, special tokens included.
        min_frequency: Occurrences a pair of pieces needs to become one.
        lowercase: Fold case and strip accents.

    Raises:
        InputError: If no text holds a character.
    """
    texts = list(texts)
    normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    specials = list(SPECIAL_TOKENS.values())
    letters = _most_frequent_letters(texts, normalizer, min(ALPHABET, (vocab_size - len(specials)) // 2))
    if not letters:
        found = "expected texts to train a tokenizer on, found no character in them"
        raise InputError(Finding("M113", "data.text", found, "name the column with the texts"))
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        # The trainer would number "##a", "##b" ... in the order of a randomly seeded hash table, and break ties
        # between merges by these numbers. Declared here they have fixed ones; below they are pieces like all others.
        special_tokens=specials + [f"##{letter}" for letter in letters],
        initial_alphabet=letters,
        limit_alphabet=len(letters),
        show_progress=False,
    )
    trained = _tokenizer(None, normalizer)
    trained.train_from_iterator(texts, trainer)
    tokenizer = _tokenizer(trained.get_vocab(), normalizer)
    ends = [(SPECIAL_TOKENS[end], tokenizer.token_to_id(SPECIAL_TOKENS[end])) for end in ("cls", "sep")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    names = {f"{key}_token": token for key, token in SPECIAL_TOKENS.items()}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def _tokenizer(vocab: dict[str, int] | None, normalizer: normalizers.Normalizer) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token=SPECIAL_TOKENS["unk"], max_input_chars_per_word=100))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _most_frequent_letters(texts: Iterable[str], normalizer: normalizers.Normalizer, most: int) -> list[str]:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(normalizer.normalize_str(text))
    letters = [
        letter for letter in sorted(counts, key=lambda letter: (-counts[letter], letter)) if not letter.isspace()
    ]
    return sorted(letters[:most])
