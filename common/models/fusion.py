"""Tokens of any subset of modalities become one: what is absent neither counts nor learns.

Every fusion is built from (modalities, width, dropout) and maps (token_BMW, present_BM) to
(B, width). Guarantees, for each of them: an absent modality's token changes nothing and gets no
gradient; with all absent the result is finite.
"""

import torch
from torch import Tensor, nn


class Fusion(nn.Module):
    """Joins the tokens of the modalities that are present.

    Args:
        modalities: number of modalities M.
        width: features of a token.
        dropout: share of features dropped while training.
    """

    tokens_are_logits: bool = False
    """Whether tokens are class scores already, so that no head follows."""

    def __init__(self, modalities: int, width: int, dropout: float) -> None:
        super().__init__()


class Late(Fusion):
    """The sum of each modality's own logits.

    With linear encoders this is multinomial regression on the concatenated features, which is
    hard to beat on small data and under noise.
    """

    tokens_are_logits = True

    def forward(self, token_BMW: Tensor, present_BM: Tensor) -> Tensor:
        """Add the logits of what is present."""
        return masked(token_BMW, present_BM).sum(dim=1)


class MaskedMean(Fusion):
    """The mean of the tokens that are present."""

    def forward(self, token_BMW: Tensor, present_BM: Tensor) -> Tensor:
        """Average what is present; zeros where nothing is."""
        number_B1 = present_BM.sum(dim=1, keepdim=True).clamp(min=1)
        return masked(token_BMW, present_BM).sum(dim=1) / number_B1


class GatedAttention(Fusion):
    """A weighted mean whose weights each token argues for.

    Source: Ilse, Tomczak and Welling, Attention-based Deep Multiple Instance Learning,
    ICML 2018, equation 9.
    """

    def __init__(self, modalities: int, width: int, dropout: float) -> None:
        super().__init__(modalities, width, dropout)
        self.content = nn.Linear(width, width)
        self.gate = nn.Linear(width, width)
        self.score = nn.Linear(width, 1)

    def forward(self, token_BMW: Tensor, present_BM: Tensor) -> Tensor:
        """Weigh what is present by a softmax over it."""
        token_BMW = masked(token_BMW, present_BM)
        hidden_BMW = torch.tanh(self.content(token_BMW)) * torch.sigmoid(self.gate(token_BMW))
        score_BM = self.score(hidden_BMW).squeeze(2)
        weight_BM = softmax_over_present(score_BM, present_BM)
        return (weight_BM.unsqueeze(2) * token_BMW).sum(dim=1)


class SmallTransformer(Fusion):
    """One transformer block over the tokens and a reading token, which is the result.

    Built from Linear and Embedding alone, so that per-person gradients are exact.

    Source: Vaswani et al., Attention Is All You Need, NeurIPS 2017; normalised before each part
    as in Xiong et al., On Layer Normalization in the Transformer Architecture, ICML 2020.
    """

    def __init__(self, modalities: int, width: int, dropout: float) -> None:
        super().__init__(modalities, width, dropout)
        self.kinds = nn.Embedding(modalities + 1, width)
        self.before_attention = nn.LayerNorm(width)
        self.attention = SelfAttention(width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, token_BMW: Tensor, present_BM: Tensor) -> Tensor:
        """Read what is present."""
        batch, modalities, _ = token_BMW.shape
        kind_BS = torch.arange(modalities + 1, device=token_BMW.device).expand(batch, -1)
        token_BMW = masked(token_BMW, present_BM)
        x_BSW = self.kinds(kind_BS) + nn.functional.pad(token_BMW, (0, 0, 1, 0))
        readable_BS = nn.functional.pad(present_BM, (1, 0), value=True)
        attended_BSW = self.attention(self.before_attention(x_BSW), readable_BS)
        read_BW = (x_BSW + self.dropout(attended_BSW))[:, 0]
        return read_BW + self.dropout(self.feed_forward(read_BW))  # type: ignore[no-any-return]


class SelfAttention(nn.Module):
    """Scaled dot-product attention by plain linear layers.

    Args:
        width: features of a token; split over the most of 4, 2 or 1 heads that divides it.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = next(heads for heads in (4, 2, 1) if width % heads == 0)
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x_BSW: Tensor, readable_BS: Tensor) -> Tensor:
        """Let every token read the readable ones."""
        batch, length, width = x_BSW.shape
        query, key, value = (
            layer(x_BSW).reshape(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        score_BHSS = query @ key.transpose(2, 3) / (width // self.heads) ** 0.5
        weight_BHSS = softmax_over_present(score_BHSS, readable_BS[:, None, None, :])
        read_BSW = (weight_BHSS @ value).transpose(1, 2).reshape(batch, length, width)
        return self.out(read_BSW)  # type: ignore[no-any-return]


def masked(token_BMW: Tensor, present_BM: Tensor) -> Tensor:
    """Return the tokens with zeros where the modality is absent."""
    return torch.where(present_BM.unsqueeze(2), token_BMW, torch.zeros_like(token_BMW))


def softmax_over_present(score: Tensor, present: Tensor) -> Tensor:
    """Return weights over the last dimension; zeros at what is absent, also where all is."""
    lowest = torch.finfo(score.dtype).min
    return torch.softmax(score.masked_fill(~present, lowest), dim=-1) * present
