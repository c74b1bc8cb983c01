"""From the fused token to scores, and from scores to what they say.

A model has one column of scores for each class, dimension and label of its study, in that order;
the columns are read from one fused token. Each kind of target reads its own columns in its own
way, and every loss is a cross-entropy against shares (common.targets), so that a target that is
not known adds nothing: neither to the loss nor to any gradient.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


def class_shares(score_BC: Tensor) -> Tensor:
    """Return the logarithm of each class's share."""
    return functional.log_softmax(score_BC, dim=-1)


def either_way(score_BK: Tensor) -> Tensor:
    """Return the logarithms of each score's two shares: what speaks for it, and the rest.

    Source: Papke and Wooldridge, Econometric Methods for Fractional Response Variables, Journal
    of Applied Econometrics 1996, equation 5: the same loss serves a place in a range and a yes
    or no, and its least expected value is at the mean.
    """
    both_BK2 = torch.stack([score_BK, -score_BK], dim=-1)
    return functional.logsigmoid(both_BK2).flatten(1)


def loss_per_clip(score_BK: Tensor, target_BT: Tensor) -> Tensor:
    """Cross-entropy against a clip's targets, summed over its heads; one value a clip.

    Args:
        score_BK: classes first, then dimensions and labels.
        target_BT: shares, in the columns of common.targets.

    Guarantees: finite; its gradient in a score is a share less a share, hence within ±1 however
    far off the answer is.
    """
    classes = 2 * score_BK.shape[1] - target_BT.shape[1]
    if classes == score_BK.shape[1]:
        return -(target_BT * class_shares(score_BK)).sum(-1)
    parts = [class_shares(score_BK[:, :classes])] if classes else []
    shares_BT = torch.cat([*parts, either_way(score_BK[:, classes:])], dim=1)
    return -(target_BT * shares_BT).sum(-1)


def answers(score_BK: Tensor, classes: int) -> Tensor:
    """Return what scores say: shares of the classes first, then places from 0 to 1.

    Guarantees: scores of zero say that nothing is known: all classes alike, the middle of a
    range, yes as likely as no.
    """
    parts = [torch.softmax(score_BK[:, :classes], dim=-1)] if classes else []
    return torch.cat([*parts, torch.sigmoid(score_BK[:, classes:])], dim=1)


def score_head(width: int, scores: int, hidden: int, dropout: float) -> nn.Module:
    """Build the last layers: a linear map, after a non-linearity unless encoders are linear too.

    Its last layer starts at zero, so that an untrained model says that it knows nothing.
    """
    last = nn.Linear(width, scores)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    if hidden == 0:
        return last
    return nn.Sequential(nn.LayerNorm(width), nn.GELU(), nn.Dropout(dropout), last)
