"""Train a student from the sources alone: no teacher, straight-line code, one CPU core.

    python -m training.train_from_sources --variant nano --output runs/nano \
        --pairs DATA/msrs/train=0.45 --pairs DATA/roadscene/train=0.4 \
        --pairs DATA/llvip/train=0.15 --validate DATA/msrs/val --validate DATA/roadscene/val

Writes ``<output>/checkpoint.pt`` (to continue with ``--resume``) and
``<output>/<variant>.safetensors`` (the moving average of the weights, what ships).
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import time
from pathlib import Path
from typing import Dict, List

import cv2
import numpy as np
import torch

from irvis_fusion_core.checkpoint import save_checkpoint
from irvis_fusion_core.metrics import score_pair
from irvis_fusion_core.pixel_student import PixelStudent
from irvis_fusion_core.student import create_student_model
from training.losses import source_losses
from training.pairs import PairCrops, list_pairs, read_pair

METRICS = ("SCD", "VIF", "Qabf", "SSIM")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--variant", default="nano", choices=("nano", "small", "base"))
    parser.add_argument("--pairs", action="append", required=True, metavar="FOLDER=SHARE")
    parser.add_argument("--validate", action="append", default=[], metavar="FOLDER")
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("--batch_size", type=int, default=6)
    parser.add_argument("--crop", type=int, default=160, help="pixels, a multiple of 16")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--ema", type=float, default=0.998, help="decay a step")
    parser.add_argument("--validate_every", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true")
    for name, weight in (
        ("ssim", 1.0),
        ("qabf", 1.5),
        ("vif", 0.7),
        ("scd", 0.4),
        ("intensity", 0.5),
    ):
        parser.add_argument(f"--lambda_{name}", type=float, default=weight)
    return parser.parse_args()


def validate(student: torch.nn.Module, folders: List[str], limit: int = 8) -> Dict[str, list]:
    """Mean metrics of the student and of the pixel-wise maximum, per folder."""
    pixels = PixelStudent(student).eval()
    rows: Dict[str, list] = {}
    for folder in folders:
        ours, maximum = [], []
        paths = list_pairs(Path(folder))
        for ir_path, vis_path in paths[:: max(1, len(paths) // limit)]:
            ir, vis = read_pair(ir_path, vis_path)
            with torch.no_grad():
                fused = pixels(torch.from_numpy(ir)[None, :, :, None], torch.from_numpy(vis)[None])
            y = cv2.cvtColor(vis, cv2.COLOR_RGB2GRAY)
            for picture, scores in ((fused[0].numpy(), ours), (np.maximum(ir, y), maximum)):
                row = score_pair(picture, ir, y, names=METRICS)
                scores.append([row[name] for name in METRICS])
        rows[folder] = [np.mean(ours, 0).round(4).tolist(), np.mean(maximum, 0).round(4).tolist()]
    return rows


def main() -> None:
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    torch.set_flush_denormal(True)
    options.output.mkdir(parents=True, exist_ok=True)
    folders = [
        (Path(row.rsplit("=", 1)[0]), float(row.rsplit("=", 1)[1])) for row in options.pairs
    ]
    crops = PairCrops(folders, options.crop, options.seed)
    student = create_student_model(options.variant).to(memory_format=torch.channels_last)
    average = copy.deepcopy(student).eval()
    optimizer = torch.optim.AdamW(student.parameters(), lr=options.lr, weight_decay=1e-4)
    first, checkpoint_path = 0, options.output / "checkpoint.pt"
    if options.resume:
        state = torch.load(checkpoint_path, weights_only=True)
        student.load_state_dict(state["student"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
        crops.random = np.random.default_rng(options.seed + first)
    weights = {k[len("lambda_") :]: v for k, v in vars(options).items() if k.startswith("lambda_")}
    started, sums = time.monotonic(), {}
    for step in range(first + 1, options.steps + 1):
        warm_up = min(1.0, step / 200.0)
        cosine = 0.5 * (1.0 + math.cos(math.pi * step / options.steps))
        for group in optimizer.param_groups:
            group["lr"] = options.lr * warm_up * max(cosine, 0.01)
        ir, y = (torch.from_numpy(side) for side in crops.batch(options.batch_size))
        change, _ = student.luminance_change(ir, y)
        # A leak beyond black and white keeps a gradient where the output is clamped.
        raw = (y + change) * 255.0
        fused = raw.clamp(0.0, 255.0) + 0.01 * (raw - raw.clamp(0.0, 255.0))
        # Rounded as on the topic, the gradient passing through: in the dark, half a grey level
        # is as much as the edges that have to be kept.
        fused = fused + (fused.round() - fused).detach()
        terms = source_losses(fused, ir * 255.0, y * 255.0)
        loss = sum(weights[name] * term for name, term in terms.items())
        if not torch.isfinite(loss):
            broken = [name for name, term in terms.items() if not torch.isfinite(term)]
            raise FloatingPointError(
                f"loss is {loss.item()} at step {step}, terms {broken}; the "
                f"last good state is {checkpoint_path}; try a lower --lr"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            decay = min(options.ema, step / (step + 10.0))
            for kept, fresh in zip(average.state_dict().values(), student.state_dict().values()):
                if kept.is_floating_point():
                    kept.lerp_(fresh, 1.0 - decay)
                else:
                    kept.copy_(fresh)
        for name, term in terms.items():
            sums[name] = sums.get(name, 0.0) + term.item()
        if step % 200 == 0:
            rate = (step - first) / (time.monotonic() - started)
            print(
                f"step {step} {rate:.2f}/s "
                + " ".join(f"{k} {v / 200:.4f}" for k, v in sums.items()),
                flush=True,
            )
            sums = {}
        if step % options.validate_every == 0 or step == options.steps:
            state = {
                "student": student.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": step,
            }
            torch.save(state, str(checkpoint_path) + ".part")
            os.replace(str(checkpoint_path) + ".part", checkpoint_path)
            save_checkpoint(average, options.output / f"{options.variant}.safetensors")
            rows = validate(average, options.validate)
            for folder, (ours, maximum) in rows.items():
                print(
                    f"  {Path(folder).parent.name} {METRICS}: {ours}, maximum {maximum}",
                    flush=True,
                )
            with open(options.output / "validation.jsonl", "a") as log:
                log.write(json.dumps({"step": step, "metrics": METRICS, "rows": rows}) + "\n")


if __name__ == "__main__":
    main()
