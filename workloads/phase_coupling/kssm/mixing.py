"""How a position reads those before it: causal attention."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class CausalAttention(nn.Module):
    """`forward(hidden [batch, tokens, D]) -> [batch, tokens, D]`: each position reads itself and
    those before it. `heads` parts D evenly."""

    def __init__(self, hidden_size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.read = nn.Linear(hidden_size, 3 * hidden_size)
        self.out = nn.Linear(hidden_size, hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """What is added to the hidden states."""
        batch, tokens, width = hidden.shape
        parts = self.read(hidden).view(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = scaled_dot_product_attention(query, key, value, is_causal=True)
        given: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return given
