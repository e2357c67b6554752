"""The heads by name. To add one: write the module in a sibling file, add one line here; `Head` says what it must do."""

from __future__ import annotations

from .heads_base_multilabel import Head
from .heads_cnn_multilabel import CNNHead
from .heads_crf_multilabel import CRFHead
from .heads_label_attention_multilabel import LabelAttentionHead
from .heads_label_embedding_multilabel import LabelEmbeddingHead
from .heads_linear_multilabel import LinearHead, MLPHead
from .heads_rnn_multilabel import RNNHead
from .heads_transformer_multilabel import TransformerHead

HEADS: dict[str, type[Head]] = {
    "linear": LinearHead,
    "mlp": MLPHead,
    "cnn": CNNHead,
    "rnn": RNNHead,
    "transformer": TransformerHead,
    "label_attention": LabelAttentionHead,
    "label_embedding": LabelEmbeddingHead,
    "crf": CRFHead,
}
