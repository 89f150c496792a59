"""The noise process and the sampler."""

import torch


def alphas_bar(timesteps=1000, start=1e-4, end=0.02):
    """The share of the image's variance left at each timestep (linear schedule), float64."""
    betas = torch.linspace(start, end, timesteps).double()
    return torch.cumprod(1 - betas, 0)


def trailing_timesteps(timesteps, steps):
    """Evenly spaced from the last timestep down, as Sinter samples."""
    return [round(timesteps * (steps - k) / steps) - 1 for k in range(steps)]


def add_noise(image, noise, t, table):
    """x_t. t: timesteps, N; table: alphas_bar."""
    share = table[t].to(image.dtype)[:, None, None, None]
    return share.sqrt() * image + (1 - share).sqrt() * noise


@torch.no_grad()
def sample(network, first, second, steps, generator, eta=1.0, clip=(-1.0, 1.0)):
    """DDIM from noise with a network that predicts x0 or epsilon; returns the image before the final stretch.

    generator: of the CPU, so that a seed gives the same noise on every device.
    """
    def noise():
        return torch.randn(first.shape, generator=generator).to(first.device)

    config = network.config
    table = alphas_bar(config["timesteps"])
    conditions = network.conditions(first, second)
    x = noise()
    times = trailing_timesteps(config["timesteps"], steps)
    for k, t in enumerate(times):
        now = float(table[t])
        following = float(table[times[k + 1]]) if k + 1 < steps else 1.0
        raw = network.network(conditions, x, torch.full((len(first),), t, device=first.device))
        output = network.output(raw, first, second)
        x0 = output if config["prediction"] == "x0" else (x - (1 - now) ** 0.5 * output) / now**0.5
        x0 = x0.clamp(*clip)
        epsilon = (x - now**0.5 * x0) / (1 - now) ** 0.5 if config["prediction"] == "x0" else output
        fresh = eta * ((1 - following) / (1 - now) * (1 - now / following)) ** 0.5
        kept = max(1 - following - fresh**2, 0.0) ** 0.5
        x = following**0.5 * x0 + kept * epsilon
        if fresh > 0:
            x = x + fresh * noise()
    return x
