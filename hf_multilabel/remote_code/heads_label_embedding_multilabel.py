"""A head in which texts and labels are points of one space, and a label is as likely as it is near."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .heads_base_multilabel import LABEL_INITS, Head, check_choice, check_count, label_directions

# Of the similarities before training. A cosine must be stretched: sigmoid(1) is the most it could say otherwise.
SCALES = {"dot": 1.0, "cosine": 16.0}


class LabelEmbeddingHead(Head):
    """Similarity of the projected text and each label's learned embedding.

        point = activation(pooled @ W);  logit_l = scale * similarity(point, embedding_l) + output.bias_l

    `output.weight` holds the embeddings, one row a label; the scale is learned. W starts as a rotation, so that
    similarities of texts are what the backbone says they are.

    Args:
        hidden_size: H.
        num_labels: L.
        width: E, of the label space; H if None.
        similarity: "dot" or "cosine"; a cosine ignores how long the vectors are.
        label_init: "scratch" or "names"; under "names" whoever builds the model calls `init_label_queries` once.
        activation: Key of `ACTIVATIONS`, applied to the projected text.
        dropout: Share of the projected text dropped in training.

    Cost: O(N E (H + L)) FLOP, O(E (H + L)) parameters: with E below H the labels cost less than in the linear head.

    Reference: Frome et al. 2013 (DeViSE), section 3; learned scale of cosines: Radford et al. 2021 (CLIP), section 2.3.
    """

    needs = "pooled"

    def __init__(
        self,
        hidden_size: int,
        num_labels: int,
        width: int | None = None,
        similarity: str = "dot",
        label_init: str = "scratch",
        activation: str = "none",
        dropout: float = 0.1,
    ) -> None:
        super().__init__(activation, dropout)
        check_choice("similarity", similarity, SCALES)
        check_choice("label_init", label_init, LABEL_INITS)
        width = hidden_size if width is None else width
        check_count("width", width)
        self.similarity = similarity
        self.label_init = label_init
        self.project = nn.Linear(hidden_size, width, bias=False)
        self.log_scale = nn.Parameter(torch.empty(1))
        self.output = nn.Linear(width, num_labels)
        self.initialize()

    @property
    def solvable(self) -> bool:
        """A dot product is linear in the embeddings, a cosine is not."""
        return self.similarity == "dot" and self.label_init == "scratch"

    def initialize(self) -> None:
        """W a rotation (or a projection that keeps right angles), the scale that of `SCALES`."""
        nn.init.orthogonal_(self.project.weight)
        nn.init.constant_(self.log_scale, math.log(SCALES[self.similarity]))

    @torch.no_grad()
    def init_label_queries(self, embeddings: Tensor) -> None:
        """Start each label at its name: encoded and projected as a text is, seen from the centre of all, at length 1.

        Args:
            embeddings: Label names as the backbone encodes them, pooled as texts are, (L, H).

        Raises:
            ValueError: If the shape differs.
        """
        directions = label_directions(embeddings, (self.output.out_features, self.project.in_features))
        self.output.weight.copy_(_normalize(self.project(directions.to(self.project.weight))))

    def features(self, states: Tensor, mask: Tensor, pooled: Tensor) -> Tensor:
        """The text's point, times the scale: (N, H) -> (N, E)."""
        point = self.activation(self.project(pooled))
        return self.log_scale.exp() * (_normalize(point) if self.similarity == "cosine" else point)

    def forward(self, states: Tensor, mask: Tensor, pooled: Tensor) -> Tensor:
        """(N, H) -> (N, L)."""
        features = self.dropout(self.features(states, mask, pooled))
        weight = _normalize(self.output.weight) if self.similarity == "cosine" else self.output.weight
        return nn.functional.linear(features, weight, self.output.bias)

    @torch.no_grad()
    def nearest_labels(self, k: int = 5) -> tuple[Tensor, Tensor]:
        """The labels whose embeddings point most nearly where each label's does.

        Args:
            k: Neighbours of each label; all others where there are fewer.

        Returns:
            Cosines, descending, and label ids, both (L, k); a label is not its own neighbour.

        Raises:
            ValueError: If k is below 1.

        Cost: O(L^2 E) FLOP, O(L E + 512 L) memory.
        """
        if k < 1:
            raise ValueError(f"k: expected a whole number above 0, found {k!r}. Ask for at least one neighbour.")
        points = _normalize(self.output.weight)
        k, found = min(k, len(points) - 1), []
        for ids in torch.arange(len(points), device=points.device).split(512):
            cosines = points[ids] @ points.T  # (C, L)
            cosines[torch.arange(len(ids)), ids] = -2.0  # below every cosine
            found.append(cosines.topk(k, dim=1))
        return torch.cat([best.values for best in found]), torch.cat([best.indices for best in found])


def _normalize(points: Tensor) -> Tensor:
    # smooth at zero, where a text without any token lies: x / |x| has no gradient there
    return points * (points.square().sum(dim=-1, keepdim=True) + 1e-6).rsqrt()
