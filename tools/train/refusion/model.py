"""The three networks of ReFusion's training: fusion (F), reconstruction (R) and loss proposal (LPN).

Only F is needed to fuse. Its parameter names are those of the published checkpoints. R and LPN are our own layouts:
the published code has neither; LPN follows the paper's description, R is the smallest network that did the job.
Images are N x C x H x W, float, in 0..1.
"""

import torch
from torch import nn
from torch.nn import functional as F

CONFIG = {"dim": 16, "blocks": 2, "heads": 8, "expansion": 2}


class Pointwise(torch.autograd.Function):
    """1x1 convolution through oneDNN, which torch leaves for a slower path when it runs on a single thread.

    The backward pass is made of differentiable steps, so second-order gradients work.
    """

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return torch.mkldnn_convolution(x, weight, None, [0, 0], [1, 1], [1, 1], 1)

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        grad_weight = (grad.flatten(2) @ x.flatten(2).transpose(1, 2)).sum(0)
        return Pointwise.apply(grad, weight.transpose(0, 1)), grad_weight[:, :, None, None]


class Conv1x1(nn.Conv2d):
    def forward(self, x):
        if x.device.type == "cpu" and torch.get_num_threads() == 1 and torch.backends.mkldnn.is_available():
            return Pointwise.apply(x, self.weight)
        return super().forward(x)


def conv1x1(inputs, outputs):
    return Conv1x1(inputs, outputs, 1, bias=False)


def conv3x3(inputs, outputs, bias=False):
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)


def depthwise3x3(channels):
    return nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)


class NormParameters(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))


class LayerNorm(nn.Module):
    """Normalises over the channels of every pixel. The parameters lie in `body`, as in the published names."""

    def __init__(self, dim):
        super().__init__()
        self.body = NormParameters(dim)

    def forward(self, x):
        centred = x - x.mean(1, keepdim=True)
        scale = torch.rsqrt((centred * centred).mean(1, keepdim=True) + 1e-5)
        return centred * scale * self.body.weight[:, None, None] + self.body.bias[:, None, None]


def split_heads(x, heads):
    return x.reshape(x.shape[0], heads, x.shape[1] // heads, -1)


def channel_attention(query, key, value, temperature):
    """Attention between the channels of a head; queries and keys have unit length over the pixels."""
    heads = temperature.shape[0]
    q = F.normalize(split_heads(query, heads), dim=-1)
    k = F.normalize(split_heads(key, heads), dim=-1)
    scores = (q @ k.transpose(-2, -1)) * temperature
    return (scores.softmax(-1) @ split_heads(value, heads)).reshape(value.shape)


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = conv1x1(dim, dim * 3)
        self.qkv_dwconv = depthwise3x3(dim * 3)
        self.project_out = conv1x1(dim, dim)

    def forward(self, x):
        q, k, v = self.qkv_dwconv(self.qkv(x)).chunk(3, 1)
        return self.project_out(channel_attention(q, k, v, self.temperature))


class FeedForward(nn.Module):
    def __init__(self, dim, expansion):
        super().__init__()
        hidden = dim * expansion
        self.project_in = conv1x1(dim, hidden * 2)
        self.dwconv = depthwise3x3(hidden * 2)
        self.project_out = conv1x1(hidden, dim)

    def forward(self, x):
        gate, content = self.dwconv(self.project_in(x)).chunk(2, 1)
        return self.project_out(F.gelu(gate) * content)


class TransformerBlock(nn.Module):
    def __init__(self, dim, heads, expansion):
        super().__init__()
        self.norm1 = LayerNorm(dim)
        self.attn = Attention(dim, heads)
        self.norm2 = LayerNorm(dim)
        self.ffn = FeedForward(dim, expansion)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class FusionModule(nn.Module):
    """Channel cross-attention both ways, then gated feed-forward paths; dim channels per source in, 2 dim out."""

    def __init__(self, dim, heads):
        super().__init__()
        self.temperature1 = nn.Parameter(torch.ones(heads, 1, 1))
        self.temperature2 = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv1 = conv1x1(dim, dim * 3)
        self.qkv1_dwconv = depthwise3x3(dim * 3)
        self.qkv2 = conv1x1(dim, dim * 3)
        self.qkv2_dwconv = depthwise3x3(dim * 3)
        self.project_mid1 = conv1x1(dim, dim)
        self.project_mid2 = conv1x1(dim, dim)
        self.project_E = conv1x1(dim * 2, dim * 8)
        self.project_E_d = depthwise3x3(dim * 8)
        self.project_E1 = conv1x1(dim, dim * 4)
        self.project_E1_d = depthwise3x3(dim * 4)
        self.project_E2 = conv1x1(dim, dim * 4)
        self.project_E2_d = depthwise3x3(dim * 4)
        self.project_out1 = conv1x1(dim * 4, dim * 2)
        self.project_out2 = conv1x1(dim * 4, dim * 2)

    def forward(self, x1, x2):
        q1, k1, v1 = self.qkv1_dwconv(self.qkv1(x1)).chunk(3, 1)
        q2, k2, v2 = self.qkv2_dwconv(self.qkv2(x2)).chunk(3, 1)
        x1 = x1 + self.project_mid1(channel_attention(q2, k1, v1, self.temperature1))
        x2 = x2 + self.project_mid2(channel_attention(q1, k2, v2, self.temperature2))
        both = torch.cat([x1, x2], 1)
        gate1, gate2 = self.project_E_d(self.project_E(both)).chunk(2, 1)
        out1 = self.project_out1(F.gelu(gate1) * self.project_E1_d(self.project_E1(x1)))
        out2 = self.project_out2(F.gelu(gate2) * self.project_E2_d(self.project_E2(x2)))
        return both + out1 + out2


class Fusion(nn.Module):
    """F: N x 2 x H x W (one luma plane per source) to the fused N x 1 x H x W in 0..1."""

    def __init__(self, dim=16, blocks=2, heads=8, expansion=2):
        super().__init__()
        self.project_in_1 = conv3x3(1, dim)
        self.project_in_2 = conv3x3(1, dim)
        self.encoder1 = nn.Sequential(*[TransformerBlock(dim, heads, expansion) for _ in range(blocks)])
        self.encoder2 = nn.Sequential(*[TransformerBlock(dim, heads, expansion) for _ in range(blocks)])
        self.FM = FusionModule(dim, heads)
        self.decoder = nn.Sequential(*[TransformerBlock(dim * 2, heads, expansion) for _ in range(blocks)])
        self.project_out_0 = conv3x3(dim * 2, dim)
        self.project_out_1 = conv3x3(dim, 1)

    def forward(self, sources):
        x1 = self.encoder1(self.project_in_1(sources[:, :1]))
        x2 = self.encoder2(self.project_in_2(sources[:, 1:]))
        x = self.project_out_0(self.decoder(self.FM(x1, x2)))
        return torch.sigmoid(self.project_out_1(F.leaky_relu(x)))


class Reconstruction(nn.Module):
    """R: the fused N x 1 x H x W back to both sources, N x 2 x H x W in 0..1."""

    def __init__(self, dim=16, blocks=2, heads=8, expansion=2):
        super().__init__()
        self.project_in = conv3x3(1, dim)
        self.body = nn.Sequential(*[TransformerBlock(dim, heads, expansion) for _ in range(blocks)])
        self.project_out_0 = conv3x3(dim, dim)
        self.project_out_1 = conv3x3(dim, 2)

    def forward(self, fused):
        x = self.project_out_0(self.body(self.project_in(fused)))
        return torch.sigmoid(self.project_out_1(F.leaky_relu(x)))


class WeightHead(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.conv0 = conv3x3(dim * 2, dim, bias=True)
        self.act = nn.PReLU()
        self.conv1 = conv3x3(dim, 2, bias=True)

    def forward(self, x):
        return self.conv1(self.act(self.conv0(x)))


class LossProposal(nn.Module):
    """LPN: N x 2 x H x W sources to the logits of the loss weights, intensity and gradient, each N x 2 x H x W.

    A softmax over the two channels gives the weights of the two sources in every pixel.
    """

    def __init__(self, dim=16, blocks=2, heads=8, expansion=2):
        super().__init__()
        self.project_in_1 = conv3x3(1, dim)
        self.project_in_2 = conv3x3(1, dim)
        self.encoder1 = nn.Sequential(*[TransformerBlock(dim, heads, expansion) for _ in range(blocks)])
        self.encoder2 = nn.Sequential(*[TransformerBlock(dim, heads, expansion) for _ in range(blocks)])
        self.body = nn.Sequential(*[TransformerBlock(dim * 2, heads, expansion) for _ in range(blocks)])
        self.intensity = WeightHead(dim)
        self.gradient = WeightHead(dim)

    def forward(self, sources):
        x1 = self.encoder1(self.project_in_1(sources[:, :1]))
        x2 = self.encoder2(self.project_in_2(sources[:, 1:]))
        x = self.body(torch.cat([x1, x2], 1))
        return self.intensity(x), self.gradient(x)
