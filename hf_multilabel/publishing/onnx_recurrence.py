"""The recurrent head as ONNX's own LSTM and GRU, which know how long each text is.

torch would unroll a recurrence to the length of the example. The export's comparison on real texts holds this twin to
`RNNHead`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hf_multilabel.publishing.onnx_operators import OPSET
from hf_multilabel.remote_code.heads_base_multilabel import Head, compact
from hf_multilabel.remote_code.heads_rnn_multilabel import RNNHead

# The order of the gates in ONNX, as places in torch's: input, output, forget, cell; update, reset, new.
GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}


class OnnxRecurrence(nn.Module):
    """The layers of an `nn.LSTM` or `nn.GRU` as ONNX operators; it can be traced, not run.

    Args:
        recurrence: With its weights, batch first.
    """

    def __init__(self, recurrence: nn.RNNBase) -> None:
        super().__init__()
        self.kind, self.layers, self.width = recurrence.mode, recurrence.num_layers, recurrence.hidden_size
        self.directions = 2 if recurrence.bidirectional else 1
        for layer in range(self.layers):
            suffixes = [f"_l{layer}", f"_l{layer}_reverse"][: self.directions]
            found = {kind: [self._reorder(getattr(recurrence, kind + s)) for s in suffixes] for kind in PARAMETERS}
            self.register_buffer(f"weight_{layer}", torch.stack(found["weight_ih"]))  # (directions, gates * D, H)
            self.register_buffer(f"again_{layer}", torch.stack(found["weight_hh"]))  # (directions, gates * D, D)
            both = [torch.cat(pair) for pair in zip(found["bias_ih"], found["bias_hh"], strict=True)]
            self.register_buffer(f"bias_{layer}", torch.stack(both))  # (directions, 2 * gates * D)

    def forward(self, states: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """States (N, T, H) and how many are real (N,) -> states (N, T, D), zeros after them, and the last (N, D)."""
        rows, tokens = states.shape[:2]
        lengths = lengths.to(torch.int32)
        attributes = {"hidden_size": self.width, "direction": "bidirectional" if self.directions == 2 else "forward"}
        if self.kind == "GRU":
            attributes["linear_before_reset"] = 1  # as torch does it: the reset gate acts on the projected state
        all_shape, last_shape = (tokens, self.directions, rows, self.width), (self.directions, rows, self.width)
        shapes = (all_shape, last_shape, last_shape)[: 3 if self.kind == "LSTM" else 2]
        for layer in range(self.layers):
            weights = [getattr(self, f"{name}_{layer}") for name in ("weight", "again", "bias")]
            found = torch.onnx.ops.symbolic_multi_out(
                self.kind, (states.transpose(0, 1), *weights, lengths), attributes,
                dtypes=(states.dtype,) * len(shapes), shapes=shapes, version=OPSET,
            )  # fmt: skip
            states = found[0].permute(2, 0, 1, 3).reshape(rows, tokens, self.directions * self.width)
        return states, found[1].transpose(0, 1).reshape(rows, self.directions * self.width)

    def _reorder(self, parameter: Tensor) -> Tensor:
        parts = parameter.detach().split(self.width)
        return torch.cat([parts[gate] for gate in GATES[self.kind]])


class OnnxRNNHead(Head):
    """A trained `RNNHead` whose recurrence is ONNX's.

    Args:
        head: The trained head.
    """

    needs = "tokens"

    def __init__(self, head: RNNHead) -> None:
        super().__init__("none", 0.0)
        self.activation, self.pooling, self.output = head.activation, head.pooling, head.output
        self.recurrence = OnnxRecurrence(head.recurrence)

    def features(self, states: Tensor, mask: Tensor, pooled: Tensor | None) -> Tensor:
        """The pooled recurrent states: (N, T, H) -> (N, D)."""
        states, real = compact(states, mask)
        # a text without any token is read as one token of zeros; its features are cleared below
        states, last = self.recurrence(states, real.sum(dim=1).clamp(min=1))
        if self.pooling is None:
            return self.activation(last.masked_fill(~real.any(dim=1, keepdim=True), 0.0))
        return self.activation(self.pooling(states, real))


PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
