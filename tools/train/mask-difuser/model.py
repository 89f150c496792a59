"""The network of Mask-DiFuser (Tang et al.), parameters named as in published checkpoints, and its configurations.

Images are N x 3 x H x W in -1..1; H and W are multiples of 16 (semantic encoder) and of 2^(levels - 1) (U-Net).
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

# Fields as Sinter's checkpoint reader names them (src/checkpoints/mask-difuser-format.ts).
PUBLISHED = {
    "timesteps": 1000,
    "channels": 128,
    "multipliers": [1, 2, 3, 4],
    "residualBlocks": 2,
    "attentionLevels": [2],
    "crossAttentionLevels": [0, 1, 2, 3],
    "groups": 32,
    "contentChannels": 64,
    "semanticChannels": 128,
    "semanticLayers": 4,
    "semanticHeads": 8,
    "feedForwardChannels": 2048,
    "prediction": "epsilon",
    "output": "direct",
}
SMALL = {
    "timesteps": 1000,
    "channels": 16,
    "multipliers": [1, 2, 3, 4],
    "residualBlocks": 1,
    "attentionLevels": [],
    "crossAttentionLevels": [],
    "groups": 4,
    "contentChannels": 16,
    "semanticChannels": 64,
    "semanticLayers": 2,
    "semanticHeads": 4,
    "feedForwardChannels": 128,
    "prediction": "x0",
    "output": "blend",
    # More steps change no measured figure by more than .005.
    "steps": 1,
}

LUMA = (0.299, 0.587, 0.114)


def luma(image):
    """0.299 R + 0.587 G + 0.114 B, N x 1 x H x W."""
    r, g, b = image.unbind(1)
    return (LUMA[0] * r + LUMA[1] * g + LUMA[2] * b)[:, None]


def convolution(inputs, outputs, size=3, stride=1):
    return nn.Conv2d(inputs, outputs, size, stride, size // 2)


class Norm(nn.GroupNorm):
    """Group norm that stays in float32 under bfloat16 autocast."""

    def forward(self, x):
        return super().forward(x.float() if x.dtype == torch.bfloat16 else x)


def attend(query, key, value):
    """Softmax attention of every pixel of `query` (N x C x H x W) to the pixels of `key` and `value`, one head."""
    n, c, h, w = query.shape
    scores = torch.bmm(query.flatten(2).transpose(1, 2), key.flatten(2)) / math.sqrt(c)
    return torch.bmm(value.flatten(2), scores.softmax(-1).transpose(1, 2)).reshape(n, c, h, w)


class SelfAttention(nn.Module):
    def __init__(self, channels, groups):
        super().__init__()
        self.group_norm = Norm(groups, channels)
        self.proj_q = convolution(channels, channels, 1)
        self.proj_k = convolution(channels, channels, 1)
        self.proj_v = convolution(channels, channels, 1)
        self.proj = convolution(channels, channels, 1)

    def forward(self, x):
        h = self.group_norm(x)
        return x + self.proj(attend(self.proj_q(h), self.proj_k(h), self.proj_v(h)))


class CrossAttention(nn.Module):
    """Attention of a tensor to the semantic features of one source."""

    def __init__(self, channels, condition, groups):
        super().__init__()
        self.norm_x = Norm(groups, channels)
        self.norm_cond = Norm(groups, condition)
        self.proj_q = convolution(channels, channels, 1)
        self.proj_k1 = convolution(condition, channels, 1)
        self.proj_v1 = convolution(condition, channels, 1)

    def forward(self, x, features):
        condition = self.norm_cond(features)
        return attend(self.proj_q(self.norm_x(x)), self.proj_k1(condition), self.proj_v1(condition))


class ResidualBlock(nn.Module):
    def __init__(self, config, inputs, outputs, self_attention, cross_attention, dropout):
        super().__init__()
        groups, time_channels = config["groups"], 4 * config["channels"]
        self.block1 = nn.Sequential(Norm(groups, inputs), nn.SiLU(), convolution(inputs, outputs))
        self.temb_proj = nn.Sequential(nn.SiLU(), nn.Linear(time_channels, outputs))
        self.block2 = nn.Sequential(
            Norm(groups, outputs), nn.SiLU(), nn.Dropout(dropout), convolution(outputs, outputs))
        self.shortcut = convolution(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.attn = SelfAttention(outputs, groups) if self_attention else nn.Identity()
        self.cross_attention = CrossAttention(outputs, config["semanticChannels"], groups) if cross_attention else None
        if cross_attention:
            self.conbine = nn.Sequential(convolution(3 * outputs, outputs), Norm(groups, outputs), nn.SiLU())

    def forward(self, x, time, first, second):
        h = self.block1(x) + self.temb_proj(time)[:, :, None, None]
        h = self.attn(self.block2(h) + self.shortcut(x))
        if self.cross_attention is None:
            return h
        z1 = self.cross_attention(self.cross_attention(h, first), second)
        z2 = self.cross_attention(self.cross_attention(h, second), first)
        return self.conbine(torch.cat([z1, z2, z1 + z2], 1)) + h


class Down(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.main = convolution(channels, channels, stride=2)

    def forward(self, x):
        return self.main(x)


class Up(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.main = convolution(channels, channels)

    def forward(self, x):
        return self.main(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))


class Mixer(nn.Module):
    """Attention-parallel feature mixer: one weight from the pooled channels, one from every pixel."""

    def __init__(self, width, groups):
        super().__init__()
        self.conv1, self.norm1 = convolution(4 * width, 2 * width, 1), Norm(groups, 2 * width)
        self.conv2, self.norm2 = convolution(2 * width, width, 1), Norm(groups, width)
        self.conv3, self.norm3 = convolution(2 * width, width, 1), Norm(groups, width)
        self.conv4, self.norm4 = convolution(width, width, 1), Norm(groups, width)

    def forward(self, first, second):
        both = torch.cat([first, second], 1)
        pooled = torch.cat([both.mean((2, 3), keepdim=True), both.amax((2, 3), keepdim=True)], 1)
        channel = self.norm2(self.conv2(F.silu(self.norm1(self.conv1(pooled)))))
        spatial = self.norm4(self.conv4(F.silu(self.norm3(self.conv3(both)))))
        weight = torch.sigmoid(channel + spatial)
        return weight * first + (1 - weight) * second


class ContentEncoder(nn.Module):
    """Features of both sources together at full size, N x contentChannels x H x W."""

    def __init__(self, width, groups):
        super().__init__()
        self.conv = nn.Sequential(
            convolution(3, width // 2), Norm(groups, width // 2), nn.SiLU(),
            convolution(width // 2, width), Norm(groups, width), nn.SiLU(), convolution(width, 2 * width))
        self.fusion = Mixer(2 * width, groups)
        self.enhance = nn.Sequential(
            Norm(groups, 2 * width), nn.SiLU(), convolution(2 * width, width),
            Norm(groups, width), nn.SiLU(), convolution(width, width))

    def forward(self, first, second):
        return self.enhance(self.fusion(self.conv(first), self.conv(second)))


class Transformer(nn.Module):
    def __init__(self, channels, heads, feed_forward, layers, dropout):
        super().__init__()
        layer = nn.TransformerEncoderLayer(channels, heads, feed_forward, dropout, batch_first=True)
        self.transformer_encoder = nn.TransformerEncoder(layer, layers)

    def forward(self, x):
        n, c, h, w = x.shape
        # In full precision under autocast: its layer norms need it, and it is little work.
        with torch.autocast(x.device.type, enabled=False):
            tokens = (x.float() if x.dtype == torch.bfloat16 else x).flatten(2).transpose(1, 2)
            return self.transformer_encoder(tokens).transpose(1, 2).reshape(n, c, h, w)


class SemanticEncoder(nn.Module):
    """Features of one source at 1/16 of its size, N x semanticChannels x H/16 x W/16."""

    def __init__(self, config, dropout):
        super().__init__()
        c, groups = config["semanticChannels"], config["groups"]
        widths = [c // 4, c // 4, c // 2, c, c]
        layers, inputs = [convolution(3, widths[0])], widths[0]
        for width in widths[1:]:
            layers += [Norm(groups, inputs), nn.SiLU(), convolution(inputs, width, stride=2)]
            inputs = width
        self.conv = nn.Sequential(*layers)
        self.transformer_encoder = Transformer(
            c, config["semanticHeads"], config["feedForwardChannels"], config["semanticLayers"], dropout)

    def forward(self, image):
        return self.transformer_encoder(self.conv(image))


def time_table(timesteps, channels):
    """Sines and cosines of the timesteps, interleaved, timesteps x channels."""
    frequencies = torch.exp(torch.arange(0, channels, 2, dtype=torch.float64) / channels * -math.log(10000))
    angles = torch.arange(timesteps, dtype=torch.float64)[:, None] * frequencies
    return torch.stack([angles.sin(), angles.cos()], -1).reshape(timesteps, channels).float()


class TimeEmbedding(nn.Module):
    def __init__(self, timesteps, channels):
        super().__init__()
        self.timembedding = nn.Sequential(
            nn.Embedding.from_pretrained(time_table(timesteps, channels), freeze=True),
            nn.Linear(channels, 4 * channels), nn.SiLU(), nn.Linear(4 * channels, 4 * channels))

    def forward(self, t):
        return self.timembedding(t)


class MaskDifuser(nn.Module):
    def __init__(self, config, dropout=0.0):
        super().__init__()
        self.config = config
        channels, groups, content = config["channels"], config["groups"], config["contentChannels"]
        self.content_encoder = ContentEncoder(content, groups)
        self.encoder = SemanticEncoder(config, dropout)
        self.time_embedding = TimeEmbedding(config["timesteps"], channels)
        self.proj_in = nn.Sequential(convolution(3, content), Norm(groups, content), nn.SiLU())
        self.head = convolution(2 * content, channels)

        def block(inputs, outputs, level):
            crosses = level is None or level in config["crossAttentionLevels"]
            return ResidualBlock(config, inputs, outputs, level in config["attentionLevels"], crosses, dropout)

        widths = [channels * m for m in config["multipliers"]]
        last = len(widths) - 1
        self.downblocks, skips, width = nn.ModuleList(), [channels], channels
        for level, outputs in enumerate(widths):
            for _ in range(config["residualBlocks"]):
                self.downblocks.append(block(width, outputs, level))
                width = outputs
                skips.append(width)
            if level < last:
                self.downblocks.append(Down(width))
                skips.append(width)
        self.middleblocks = nn.ModuleList(
            ResidualBlock(config, width, width, self_attention, True, dropout) for self_attention in (True, False))
        self.upblocks = nn.ModuleList()
        for level, outputs in reversed(list(enumerate(widths))):
            for _ in range(config["residualBlocks"] + 1):
                self.upblocks.append(block(width + skips.pop(), outputs, level))
                width = outputs
            if level > 0:
                self.upblocks.append(Up(width))
        outputs = 5 if config["output"] == "blend" else 3
        self.tail = nn.Sequential(Norm(groups, width), nn.SiLU(), convolution(width, outputs))
        # A near-zero output: the mean of the sources for a blend.
        with torch.no_grad():
            self.tail[2].weight.mul_(1e-2)
            self.tail[2].bias.zero_()

    def conditions(self, first, second):
        """What does not change with the step: content features, semantic features of both sources."""
        return self.content_encoder(first, second), self.encoder(first), self.encoder(second)

    def network(self, conditions, x_t, t):
        """The output of the last convolution. x_t: noisy image; t: timesteps, N."""
        content, first, second = conditions
        time = self.time_embedding(t)
        x = self.head(torch.cat([content, self.proj_in(x_t)], 1))
        skips = [x]
        for layer in self.downblocks:
            x = layer(x, time, first, second) if isinstance(layer, ResidualBlock) else layer(x)
            skips.append(x)
        for layer in self.middleblocks:
            x = layer(x, time, first, second)
        for layer in self.upblocks:
            if isinstance(layer, ResidualBlock):
                x = layer(torch.cat([x, skips.pop()], 1), time, first, second)
            else:
                x = layer(x)
        return self.tail(x)

    def output(self, raw, first, second):
        """What the raw output means: itself, or with "blend" luma and colour of both sources mixed apart, plus a rest."""
        if self.config["output"] != "blend":
            return raw
        y1, y2 = luma(first), luma(second)
        wy, wc = torch.sigmoid(raw[:, 3:4]), torch.sigmoid(raw[:, 4:5])
        return wy * y1 + (1 - wy) * y2 + wc * (first - y1) + (1 - wc) * (second - y2) + raw[:, :3]

    def forward(self, first, second, x_t, t):
        raw = self.network(self.conditions(first, second), x_t, t)
        return self.output(raw.float() if raw.dtype == torch.bfloat16 else raw, first, second)
