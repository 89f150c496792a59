"""Train Mask-DiFuser. See README.md.

    OMP_NUM_THREADS=1 python3 tools/train/mask-difuser/train.py --data DATA --out OUT --minutes 95
"""

import argparse
import copy
import csv
import json
import math
import os
import sys
import time

import numpy as np
import torch
from torch.nn import functional as F

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))

from common.pairs import TASKS
from data import Pairs, Photographs
from diffusion import add_noise, alphas_bar
from evaluate import fuse, held_out, judge, stretch
from losses import masked_loss, pair_loss
from masking import dual_masking
from model import PUBLISHED, SMALL, MaskDifuser

CHECKPOINT_SECONDS = 90
LOG_SECONDS = 20
JUDGED_STEPS = (1, 2, 5)

# The published schedule: 3,500 epochs of 800 crops, batch 8 on each of 4 devices, warm-up over 1,000 epochs.
PUBLISHED_STEPS = 3500 * 25
PUBLISHED_WARM_UP = 1000 * 25
PUBLISHED_BATCH = 32
PUBLISHED_PATCH = 128
PUBLISHED_RATE = 5e-5
PUBLISHED_DROPOUT = 0.1

# The schedule of the small model: phases as shares of the time, see README.md.
PAIR_BATCHES = 0.75
LEARNING_RATE = 1.5e-3
WARM_UP_STEPS = 60
# Timesteps of samplers with 1, 2 and 5 steps, and 0; drawn within 40 of them, the first most often.
TIMES = np.array([999, 799, 599, 499, 399, 199, 0])
TIME_CHANCES = np.array([0.52, 0.08, 0.08, 0.08, 0.08, 0.08, 0.08])
NEARLY_NOISE = 900
EMA_DECAY = 0.997
# (chance, batch, patch); larger crops so that statistics over a crop are like those over a picture.
MASKED_SIZES = ((0.75, 4, 64), (0.25, 2, 96))
PAIR_SIZES = ((0.25, 4, 64), (0.25, 3, 96), (0.5, 2, 128))


class Trainer:
    def __init__(self, args):
        self.args = args
        torch.manual_seed(args.seed)
        config = PUBLISHED if args.published else SMALL
        if args.config:
            config = {**config, **json.loads(args.config)}
        self.device = torch.device(args.device)
        self.network = MaskDifuser(config, PUBLISHED_DROPOUT if args.published else 0.0).to(self.device)
        self.average = copy.deepcopy(self.network).eval()
        self.random = np.random.default_rng(args.seed)
        betas = (0.9, 0.999) if args.published else (0.9, 0.99)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), LEARNING_RATE, betas, weight_decay=1e-4)
        self.table = alphas_bar(config["timesteps"]).to(self.device)
        self.counts = {"masked": 0, "pairs": 0}
        self.elapsed = 0.0
        self.best = -math.inf
        self.recent = {}
        self.pairs = None if args.published else Pairs(args.data, self.random)
        self.photographs = Photographs(args.data, self.random, self.pairs)
        self.judged = [] if args.judge_minutes <= 0 else [
            (task, *pair[2:]) for task in TASKS for pair in held_out(args.data, task, 6, 256)[:args.judge_pairs]]
        os.makedirs(args.out, exist_ok=True)
        self.checkpoint = os.path.join(args.out, "checkpoint.pt")

    # Steps -----------------------------------------------------------------------------------------------------

    def tensors(self, arrays):
        return [torch.from_numpy(x).to(self.device) for x in arrays]

    def autocast(self):
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.args.bf16)

    def pick(self, sizes):
        chances = [s[0] for s in sizes]
        return sizes[self.random.choice(len(sizes), p=chances)][1:]

    def draw_times(self, count):
        times = self.random.choice(TIMES, count, p=TIME_CHANCES) + self.random.integers(-40, 41, count)
        return torch.from_numpy(np.clip(times, 0, self.network.config["timesteps"] - 1)).to(self.device)

    def predict(self, first, second, image, t):
        """The small model's x0 for `image` noised to the timesteps t."""
        x_t = add_noise(image, torch.randn_like(image), t, self.table)
        with self.autocast():
            return self.network(first, second, x_t, t)

    def masked_step(self):
        first, second, aim = self.tensors(self.photographs.batch(*self.pick(MASKED_SIZES)))
        x0 = self.predict(first, second, aim, self.draw_times(len(first)))
        self.step("masked", masked_loss(x0, aim))

    def pair_step(self):
        first, second, target = self.tensors(self.pairs.batch(*self.pick(PAIR_SIZES)))
        t = self.draw_times(len(first))
        x0 = self.predict(first, second, self.estimate(first, second, t), t)
        self.step("pairs", pair_loss(x0, first, second, target))

    @torch.no_grad()
    def estimate(self, first, second, t):
        """What stands for the clean picture where there is none: the averaged network's own one-step estimate.
        At timesteps so late that nothing of it would be left, the mean of the sources."""
        image = (first + second) / 2
        chosen = t < NEARLY_NOISE
        if chosen.any():
            first, second = first[chosen], second[chosen]
            last = torch.full((len(first),), self.network.config["timesteps"] - 1, device=self.device)
            with self.autocast():
                estimate = self.average(first, second, torch.randn_like(first), last)
            image[chosen] = estimate.clamp(-1, 1)
        return image

    def published_step(self):
        """100 times the squared error of the noise. The later image losses (colour angle, SSIM, LPIPS) are left out."""
        def make(image, random):
            return (*dual_masking(image, random), image)

        first, second, image = self.tensors(self.photographs.batch(self.args.batch, self.args.patch, make))
        t = torch.from_numpy(self.random.integers(0, self.network.config["timesteps"], len(first))).to(self.device)
        noise = torch.randn_like(image)
        with self.autocast():
            predicted = self.network(first, second, add_noise(image, noise, t, self.table), t)
        self.step("masked", 100 * F.mse_loss(predicted, noise))

    def step(self, name, loss):
        value = float(loss)
        if not math.isfinite(value):
            raise SystemExit(f"the loss '{name}' is {value} at {self.counts}: stopped; resume from the last checkpoint")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.counts[name] += 1
        self.recent.setdefault(name, []).append(value)
        self.update_average()

    @torch.no_grad()
    def update_average(self):
        steps = sum(self.counts.values())
        decay = min(EMA_DECAY, (1 + steps) / (10 + steps))
        for slow, fast in zip(self.average.parameters(), self.network.parameters()):
            slow.lerp_(fast, 1 - decay)

    # Schedules -------------------------------------------------------------------------------------------------

    def set_rate(self, rate):
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def run_published(self):
        while self.counts["masked"] < self.args.steps:
            done = self.counts["masked"]
            ramp = min(1, (done + 1) / PUBLISHED_WARM_UP)
            after = max(0, done - PUBLISHED_WARM_UP) / (PUBLISHED_STEPS - PUBLISHED_WARM_UP)
            self.set_rate(PUBLISHED_RATE * ramp * 0.5 * (1 + math.cos(math.pi * after)))
            self.published_step()
            self.tick(done / self.args.steps)

    def run_small(self):
        while (progress := self.elapsed / (60 * self.args.minutes)) < 1:
            ramp = min(1, (self.counts["masked"] + 1) / WARM_UP_STEPS)
            self.set_rate(LEARNING_RATE * ramp * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))))
            if progress >= self.args.masked_share and self.random.random() < PAIR_BATCHES:
                self.pair_step()
            else:
                self.masked_step()
            self.tick(progress)

    # Log, checkpoint, judgement --------------------------------------------------------------------------------

    def tick(self, progress):
        now = time.monotonic()
        self.elapsed += now - self.last_tick
        self.last_tick = now
        if now - self.last_log >= LOG_SECONDS:
            self.last_log = now
            means = [f"{np.mean(self.recent[n]):.5f}" if n in self.recent else "" for n in self.counts]
            self.write("log.csv", ["seconds", "progress", *self.counts, *(f"loss {n}" for n in self.counts)],
                       [round(self.elapsed), f"{progress:.3f}", *self.counts.values(), *means])
            self.recent = {}
        if now - self.last_save >= CHECKPOINT_SECONDS:
            self.last_save = now
            self.save(self.checkpoint)
        if self.judged and now - self.last_judged >= 60 * self.args.judge_minutes:
            self.judge()
            self.last_judged = time.monotonic()

    def write(self, name, columns, values):
        path = os.path.join(self.args.out, name)
        new = not os.path.exists(path)
        with open(path, "a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(columns)
            writer.writerow(values)

    def judge(self):
        """VIF and Qabf of the averaged network on a few held-out pairs, against the plain average; keeps the best."""
        table = {task: [] for task in TASKS}
        for task, a, b in self.judged:
            pictures = [stretch((a + b) / 2)] + [stretch(fuse(self.average, a, b, steps)) for steps in JUDGED_STEPS]
            table[task].append([v for x in pictures for v in judge(a, b, x)])
        means = np.array([np.mean(values, 0) for values in table.values()])
        columns = [f"{method} {metric}" for method in ("average", *JUDGED_STEPS) for metric in ("VIF", "Qabf")]
        for task, values in zip(TASKS, means):
            self.write("judged.csv", ["seconds", *self.counts, "task", *columns],
                       [round(self.elapsed), *self.counts.values(), task, *(f"{v:.3f}" for v in values)])
        # Relative to the average of the sources, mean over tasks and step counts.
        score = float(np.mean(means[:, 2:].reshape(len(TASKS), -1, 2) / means[:, None, :2]))
        if score > self.best:
            self.best = score
            self.save(os.path.join(self.args.out, "best.pt"))

    def save(self, path):
        state = {name: getattr(self, name).state_dict() for name in ("network", "average", "optimiser")}
        state.update(
            config=self.network.config, counts=self.counts, elapsed=self.elapsed, best=self.best,
            random=self.random.bit_generator.state, seed=self.args.seed, published=self.args.published,
        )
        torch.save(state, path + ".tmp")
        os.replace(path + ".tmp", path)

    def load(self, path):
        state = torch.load(path, map_location=self.device)
        for key, value in (("seed", self.args.seed), ("published", self.args.published), ("config", self.network.config)):
            if state[key] != value:
                raise SystemExit(f"{path} was made with {key} {state[key]}, not {value}")
        for name in ("network", "average", "optimiser"):
            getattr(self, name).load_state_dict(state[name])
        self.counts, self.elapsed, self.best = state["counts"], state["elapsed"], state["best"]
        self.random.bit_generator.state = state["random"]
        # The noise does not go on where it stopped; it must not repeat either.
        torch.manual_seed(self.args.seed + sum(self.counts.values()))

    def run(self):
        if self.args.resume and os.path.exists(self.checkpoint):
            self.load(self.checkpoint)
        elif os.path.exists(self.checkpoint):
            raise SystemExit(f"{self.checkpoint} exists: use --resume, or another --out")
        self.last_tick = self.last_log = self.last_save = self.last_judged = time.monotonic()
        if self.args.published:
            self.run_published()
        else:
            self.run_small()
        self.save(self.checkpoint)
        if self.judged:
            self.judge()
        print(f"{self.counts}, {self.elapsed / 60:.1f} minutes")


def main():
    parser = argparse.ArgumentParser(description="Train Mask-DiFuser.")
    parser.add_argument("--data", required=True, help="data folder (holds PAIRS.tsv and natural/)")
    parser.add_argument("--out", required=True, help="folder for checkpoint.pt, log.csv, judged.csv and best.pt")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume", action="store_true", help="go on from OUT/checkpoint.pt if it is there")
    parser.add_argument("--minutes", type=float, default=95, help="length of the small model's schedule")
    parser.add_argument("--masked-share", type=float, default=0.4, help="how much of it is for masked pictures alone")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 autocast; norms, losses and averages stay float32")
    parser.add_argument("--judge-minutes", type=float, default=15, help="how often to look at held-out pairs; 0: never")
    parser.add_argument("--judge-pairs", type=int, default=4, help="of each task")
    parser.add_argument("--config", help="JSON fields to change in the network's configuration")
    parser.add_argument("--published", action="store_true", help="the published configuration, masking and objective")
    parser.add_argument("--steps", type=int, default=PUBLISHED_STEPS, help="with --published: when to stop")
    parser.add_argument("--batch", type=int, default=PUBLISHED_BATCH, help="with --published")
    parser.add_argument("--patch", type=int, default=PUBLISHED_PATCH, help="with --published")
    Trainer(parser.parse_args()).run()


if __name__ == "__main__":
    main()
