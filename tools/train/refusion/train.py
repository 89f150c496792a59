"""Train ReFusion (fusion with a learnable loss) for one task. See README.md.

    OMP_NUM_THREADS=1 python3 tools/train/refusion/train.py --data DATA --task infrared-visible --out OUT
"""

import argparse
import copy
import csv
import math
import os
import sys
import time

import numpy as np
import torch
from torch.nn.utils.stateless import functional_call

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))

from common.pairs import TASKS
from data import Crops
from losses import fixed_loss, fusion_loss, imitation_loss, reconstruction_loss
from model import Fusion, LossProposal, Reconstruction

CHECKPOINT_SECONDS = 90

# The published schedule.
EPOCHS = 50
META_STEPS = 600
PLAIN_STEPS = 600
META_ACCUMULATE = 2
LEARNING_RATE = 1e-4
BATCH = 2
PATCH = 128

# The reduced schedule: phases as shares of the time, see README.md.
REDUCED_BATCH = 3
REDUCED_PATCH = 48
REDUCED_LEARNING_RATE = 2e-3
REDUCED_INNER_RATE = 1e-2
REDUCED_META_RATE = 1e-3
WARM_SHARE = 0.72
WARM_UP_STEPS = 40
SIDE_EVERY = 6
CYCLE_META = 4
CYCLE_PLAIN = 16
LEARNED_LOSS_WEIGHT = 3.0
EMA_DECAY = 0.99


class Trainer:
    def __init__(self, args):
        self.args = args
        torch.manual_seed(args.seed)
        self.fusion, self.reconstruction, self.proposal = Fusion(), Reconstruction(), LossProposal()
        rate = REDUCED_LEARNING_RATE if args.reduced else LEARNING_RATE
        self.optim_f = torch.optim.Adam(self.fusion.parameters(), rate)
        self.optim_r = torch.optim.Adam(self.reconstruction.parameters(), rate)
        self.optim_p = torch.optim.Adam(self.proposal.parameters(), rate)
        self.average = copy.deepcopy(self.fusion)
        self.meta_gradient = None
        self.counts = {"warm": 0, "meta": 0, "plain": 0}
        # Published schedule: the epoch and how many meta-steps and plain steps of it are done.
        self.place = {"epoch": 0, "meta": 0, "plain": 0}
        self.elapsed = 0.0
        patch = REDUCED_PATCH if args.reduced else PATCH
        self.crops = Crops(args.data, args.task, patch, args.reduced, args.seed)
        os.makedirs(args.out, exist_ok=True)
        self.checkpoint = os.path.join(args.out, "checkpoint.pt")
        self.log_path = os.path.join(args.out, "log.csv")
        self.recent = {}

    # Batches ---------------------------------------------------------------------------------------------------

    def batch(self, size):
        """Sources and target. The order of the sources must not matter: the published schedule doubles the batch by
        swapping them, the reduced one swaps every second crop of a batch instead."""
        sources, target = (torch.from_numpy(x) for x in self.crops.batch(size))
        if not self.args.reduced:
            return torch.cat([sources, sources.flip(1)]), torch.cat([target, target])
        swapped = torch.arange(size) % 2 == 1
        return torch.where(swapped[:, None, None, None], sources.flip(1), sources), target

    def weights(self, sources):
        return [logits.softmax(1) for logits in self.proposal(sources)]

    # Steps -----------------------------------------------------------------------------------------------------

    def step(self, name, module, optimiser, loss):
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if self.args.reduced:
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
        self.note(name, loss)

    def step_reconstruction(self, sources, fused):
        rebuilt = self.reconstruction(fused.detach())
        self.step("reconstruction", self.reconstruction, self.optim_r, reconstruction_loss(sources, rebuilt))

    def warm_step(self):
        """Fixed loss weights: F every step; R and the LPN, which learn faster, now and then."""
        sources, target = self.batch(REDUCED_BATCH)
        fused = self.fusion(sources)
        self.step("fixed", self.fusion, self.optim_f, fixed_loss(sources, fused, target))
        if self.counts["warm"] % SIDE_EVERY == 0:
            self.step_reconstruction(sources, fused)
            logits = self.proposal(sources)
            self.step("imitation", self.proposal, self.optim_p, imitation_loss(sources, target, logits))
        self.counts["warm"] += 1

    def meta_step(self, batch, gradient_weight, inner_rate, meta_rate):
        """Inner step on one batch, outer step on another; every second time the LPN moves."""
        fusion, reconstruction = dict(self.fusion.named_parameters()), dict(self.reconstruction.named_parameters())
        sources, _ = self.batch(batch)
        fused = self.fusion(sources)
        loss = fusion_loss(sources, fused, self.weights(sources), gradient_weight)
        # The graph stays: the updated F' is a function of the LPN's weights.
        gradients = torch.autograd.grad(loss, list(fusion.values()), create_graph=True)
        moved_f = {k: p - inner_rate * g for (k, p), g in zip(fusion.items(), gradients)}
        loss = reconstruction_loss(sources, self.reconstruction(fused.detach()))
        gradients = torch.autograd.grad(loss, list(reconstruction.values()))
        moved_r = {k: (p - inner_rate * g).detach() for (k, p), g in zip(reconstruction.items(), gradients)}

        sources, _ = self.batch(batch)
        fused = functional_call(self.fusion, moved_f, (sources,))
        rebuilt = functional_call(self.reconstruction, moved_r, (fused,))
        loss = reconstruction_loss(sources, rebuilt)
        parameters = list(self.proposal.parameters())
        gradients = torch.autograd.grad(loss, parameters)
        self.note("outer", loss)
        if self.meta_gradient is None:
            self.meta_gradient = [torch.zeros_like(p) for p in parameters]
        for total, gradient in zip(self.meta_gradient, gradients):
            total += gradient
        self.counts["meta"] += 1
        if self.counts["meta"] % META_ACCUMULATE == 0:
            with torch.no_grad():
                for p, gradient in zip(parameters, self.meta_gradient):
                    p -= meta_rate * gradient / gradient.abs().max().clamp_min(1e-20)
                    gradient.zero_()

    def plain_step(self, batch, gradient_weight):
        """The LPN stands still: F learns by its loss, then R from the fused image."""
        sources, target = self.batch(batch)
        with torch.no_grad():
            weights = self.weights(sources)
        fused = self.fusion(sources)
        loss = fusion_loss(sources, fused, weights, gradient_weight)
        self.note("learned", loss)
        if self.args.reduced:
            loss = LEARNED_LOSS_WEIGHT * loss + fixed_loss(sources, fused, target)
        self.step("fusion", self.fusion, self.optim_f, loss)
        self.step_reconstruction(sources, fused)
        self.counts["plain"] += 1

    # Schedules -------------------------------------------------------------------------------------------------

    def run_published(self):
        place = self.place
        while place["epoch"] < EPOCHS:
            rate = LEARNING_RATE * 0.1 ** (place["epoch"] // 10)
            self.set_rate(rate)
            gradient_weight = (place["epoch"] + 1) / EPOCHS
            while place["meta"] < META_STEPS:
                self.meta_step(BATCH, gradient_weight, rate, rate)
                place["meta"] += 1
                self.tick(place["epoch"] / EPOCHS)
            while place["plain"] < PLAIN_STEPS:
                self.plain_step(BATCH, gradient_weight)
                place["plain"] += 1
                self.tick(place["epoch"] / EPOCHS)
            place.update(epoch=place["epoch"] + 1, meta=0, plain=0)
        self.average.load_state_dict(self.fusion.state_dict())

    def run_reduced(self):
        while (progress := self.elapsed / (60 * self.args.minutes)) < 1:
            total = sum(self.counts.values())
            rate = REDUCED_LEARNING_RATE * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
            self.set_rate(rate * min(1, (total + 1) / WARM_UP_STEPS))
            if progress < WARM_SHARE:
                self.warm_step()
            elif (self.counts["meta"] + self.counts["plain"]) % (CYCLE_META + CYCLE_PLAIN) < CYCLE_META:
                self.meta_step(2, 1.0, REDUCED_INNER_RATE, REDUCED_META_RATE)
            else:
                self.plain_step(REDUCED_BATCH, 1.0)
            self.update_average()
            self.tick(progress)

    def set_rate(self, rate):
        for optimiser in (self.optim_f, self.optim_r, self.optim_p):
            for group in optimiser.param_groups:
                group["lr"] = rate

    @torch.no_grad()
    def update_average(self):
        steps = self.counts["warm"] + self.counts["plain"]
        decay = min(EMA_DECAY, (1 + steps) / (10 + steps))
        for slow, fast in zip(self.average.parameters(), self.fusion.parameters()):
            slow.lerp_(fast, 1 - decay)

    # Log and checkpoint ----------------------------------------------------------------------------------------

    def note(self, name, loss):
        value = float(loss)
        if not math.isfinite(value):
            raise SystemExit(f"the loss '{name}' is {value} at {self.counts}: stopped; resume from the last checkpoint")
        self.recent.setdefault(name, []).append(value)

    def tick(self, progress):
        now = time.monotonic()
        self.elapsed += now - self.last_tick
        self.last_tick = now
        if now - self.last_log >= 15:
            self.last_log = now
            self.write_log(progress)
        if now - self.last_save >= CHECKPOINT_SECONDS:
            self.last_save = now
            self.save()

    def write_log(self, progress):
        names = ("fixed", "imitation", "outer", "learned", "fusion", "reconstruction")
        new = not os.path.exists(self.log_path)
        with open(self.log_path, "a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["seconds", "progress", "warm", "meta", "plain", *names])
            means = [f"{np.mean(self.recent[n]):.5f}" if n in self.recent else "" for n in names]
            writer.writerow([round(self.elapsed), f"{progress:.3f}", *self.counts.values(), *means])
        self.recent = {}

    def parts(self):
        return {"fusion": self.fusion, "reconstruction": self.reconstruction, "proposal": self.proposal,
                "average": self.average, "optim_f": self.optim_f, "optim_r": self.optim_r, "optim_p": self.optim_p}

    def save(self):
        state = {name: part.state_dict() for name, part in self.parts().items()}
        state.update(
            counts=self.counts, place=self.place, elapsed=self.elapsed, meta_gradient=self.meta_gradient,
            random=self.crops.random.bit_generator.state, pairs=len(self.crops.planes),
            task=self.args.task, seed=self.args.seed, reduced=self.args.reduced, started=self.args.start is not None,
        )
        torch.save(state, self.checkpoint + ".tmp")
        os.replace(self.checkpoint + ".tmp", self.checkpoint)

    def load(self):
        state = torch.load(self.checkpoint, map_location="cpu")
        for key in ("task", "seed", "reduced"):
            if state[key] != getattr(self.args, key):
                raise SystemExit(f"{self.checkpoint} was made with {key} {state[key]}, not {getattr(self.args, key)}")
        for name, part in self.parts().items():
            part.load_state_dict(state[name])
        self.counts, self.place, self.elapsed = state["counts"], state["place"], state["elapsed"]
        self.meta_gradient = state["meta_gradient"]
        self.crops.random.bit_generator.state = state["random"]

    def start_from(self, path):
        """Begin with the three networks of another task's checkpoint, with fresh optimisers and counts."""
        state = torch.load(path, map_location="cpu")
        self.fusion.load_state_dict(state["average"])
        self.average.load_state_dict(state["average"])
        self.reconstruction.load_state_dict(state["reconstruction"])
        self.proposal.load_state_dict(state["proposal"])

    def run(self):
        if self.args.resume and os.path.exists(self.checkpoint):
            self.load()
        elif os.path.exists(self.checkpoint):
            raise SystemExit(f"{self.checkpoint} exists: use --resume, or another --out")
        elif self.args.start is not None:
            self.start_from(self.args.start)
        self.last_tick = self.last_log = self.last_save = time.monotonic()
        if self.args.reduced:
            self.run_reduced()
        else:
            self.run_published()
        self.write_log(1.0)
        self.save()
        print(f"{self.args.task}: {self.counts}, {self.elapsed / 60:.1f} minutes, {len(self.crops.planes)} pairs")


def main():
    parser = argparse.ArgumentParser(description="Train ReFusion for one task.")
    parser.add_argument("--data", required=True, help="data folder (holds PAIRS.tsv)")
    parser.add_argument("--task", required=True, choices=sorted(TASKS))
    parser.add_argument("--out", required=True, help="folder for checkpoint.pt and log.csv")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume", action="store_true", help="go on from OUT/checkpoint.pt if it is there")
    parser.add_argument("--start", metavar="CHECKPOINT", help="begin with the networks of another task's checkpoint.pt")
    parser.add_argument("--reduced", action="store_true", help="the short schedule for a CPU instead of the published one")
    parser.add_argument("--minutes", type=float, default=20, help="length of the reduced schedule")
    Trainer(parser.parse_args()).run()


if __name__ == "__main__":
    main()
