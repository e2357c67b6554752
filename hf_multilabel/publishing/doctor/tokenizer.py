"""The tokenizer against the model: vocabulary, lengths, padding, the files that servers need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hf_multilabel.publishing.doctor.subject import CONFIG, EMBEDDINGS, POSITIONS, Subject, as_list
from hf_multilabel.publishing.doctor.symptoms import Symptom, error, note, ok, warning

FAST, SETTINGS = "tokenizer.json", "tokenizer_config.json"
SLOW = ("vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "bpe.codes")
# transformers writes int(1e30) where nobody set a length.
UNSET_LENGTH = 10**9
# These count positions from pad_token_id + 1 on, so that 514 rows serve 512 tokens
# (create_position_ids_from_input_ids, models/roberta/modeling_roberta.py and its copies).
OFFSET_TYPES = frozenset(
    {
        *("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "longformer", "data2vec-text"),
        *("roberta-prelayernorm", "xmod", "ibert", "luke", "esm", "markuplm", "lilt"),
    }
)
SPARE_ROWS = 1024


def check_tokenizer(subject: Subject) -> Iterator[Symptom]:
    """Ids that the embeddings hold, texts cut where the positions end, padding where the model expects it."""
    if subject.is_adapter:
        return
    if not subject.has(FAST):
        if not any(subject.has(name) for name in SLOW):
            fix = "save it beside the model with tokenizer.save_pretrained(folder)"
            yield error("tokenizer.missing", subject.files.name, f"expected {FAST}, found no tokenizer", fix)
            return
        what = f"expected {FAST}, found a slow tokenizer only: TEI and transformers.js do not start without it"
        fix = "load it with AutoTokenizer and save it again"
        yield warning("tokenizer.slow", FAST, what, fix)
    yield from _check_vocabulary(subject)
    yield from _check_length(subject)
    yield from _check_padding(subject)


def count_ids(tokenizer: dict[str, Any]) -> int:
    """One more than the highest id a tokenizer.json can give.

    Example:
        >>> count_ids({"model": {"vocab": {"a": 0, "b": 1}}, "added_tokens": [{"id": 2}]})
        3
    """
    model = tokenizer.get("model")
    vocab = model.get("vocab") if isinstance(model, dict) else None
    added = tokenizer.get("added_tokens")
    # unigram models list their pieces in the order of their ids
    ids = list(vocab.values()) if isinstance(vocab, dict) else list(range(len(as_list(vocab))))
    ids += [entry.get("id") for entry in as_list(added) if isinstance(entry, dict)]
    return max((number for number in ids if isinstance(number, int)), default=-1) + 1


def count_positions(subject: Subject) -> int | None:
    """Tokens the model has positions for; None if nothing says so."""
    config = subject.encoder_config
    table = subject.find(POSITIONS)
    rows = table[1].shape[0] if table else config.get("max_position_embeddings")
    if not isinstance(rows, int) or rows <= 0:
        return None
    pad = config.get("pad_token_id")
    offset = (pad if isinstance(pad, int) else 1) + 1 if config.get("model_type") in OFFSET_TYPES else 0
    return rows - offset


def _check_vocabulary(subject: Subject) -> Iterator[Symptom]:
    ids, table = count_ids(subject.json(FAST)), subject.find(EMBEDDINGS)
    rows = table[1].shape[0] if table else subject.encoder_config.get("vocab_size")
    if not ids or not isinstance(rows, int):
        return
    where = f"{table[1].file}:{table[0]}" if table else f"{CONFIG}:vocab_size"
    if ids > rows:
        what = f"expected ids below {rows:,}, as many as there are embeddings, found up to {ids - 1:,} in {FAST}"
        yield error("tokenizer.vocabulary", where, what, "put the tokenizer of this model beside it: texts crash it")
    elif rows - ids > max(SPARE_ROWS, rows // 20):
        what = f"{rows:,} embeddings for {ids:,} ids: perhaps another model's tokenizer"
        yield warning("tokenizer.vocabulary", where, what, "compare it with the tokenizer of the base model")
    else:
        yield ok("tokenizer.vocabulary", where, f"{rows:,} embeddings for {ids:,} ids")


def _check_length(subject: Subject) -> Iterator[Symptom]:
    stated, positions = subject.tokenizer_config.get("model_max_length"), count_positions(subject)
    where = f"{SETTINGS}:model_max_length"
    if positions is None or subject.config.get("windows"):
        return
    fixed = subject.find(POSITIONS) is not None
    if not isinstance(stated, (int, float)) or stated > UNSET_LENGTH:
        effect = "a longer text crashes the pipeline" if fixed else "longer texts than it was trained for are read"
        what = f"expected at most {positions:,}, found no limit: {effect}, truncation=True changes nothing"
        yield warning("tokenizer.length", where, what, f"set it to {positions}")
    elif stated > positions:
        what = f"expected at most {positions:,} tokens, found {stated:,.0f}"
        if subject.encoder_config.get("model_type") in OFFSET_TYPES:
            what += ": this encoder's first positions belong to padding"
        make = error if fixed else warning
        yield make("tokenizer.length", where, what, f"set it to {positions}: longer texts find no position")
    else:
        yield ok("tokenizer.length", where, f"{stated:,.0f} tokens of {positions:,} positions")
    if not fixed:
        return
    what = f"the text-classification pipeline cuts nothing by itself: a text beyond {positions:,} tokens crashes it"
    yield note("tokenizer.truncation", where, what, "call it with truncation=True, and say so in the card")


def _check_padding(subject: Subject) -> Iterator[Symptom]:
    side = subject.tokenizer_config.get("padding_side", "right")
    if side == "left" and subject.find(POSITIONS) is not None:
        what = "expected right beside learned positions, found left: scores depend on the other texts of a batch"
        yield warning("tokenizer.padding", f"{SETTINGS}:padding_side", what, "set it to right, as in training")
    architectures = subject.architectures
    padless = subject.encoder_config.get("pad_token_id") is None and subject.config.get("pad_token_id") is None
    # a decoder's head reads the last token that is no padding, and refuses batches where it can't tell
    if padless and subject.head and subject.head[0].endswith("score.weight") and architectures:
        what = f"expected an id, found none: {architectures[0]} refuses batches of several texts"
        yield error("tokenizer.pad_token", f"{CONFIG}:pad_token_id", what, "set it to the tokenizer's padding token")
