r"""Train the network of the learned registration from registered pairs.

    python -m training.train_registration --train_root DATA/msrs/train --train_root \
        DATA/roadscene/train --boxes DATA/roadscene_boxes --boxes DATA/msrs_boxes \
        --exclude DATA/roadscene_unaligned --unregistered_root DATA/kaist=0.1 \
        --checkpoint_dir runs/registration --log_dir logs/registration

The thermal image of a pair is displaced by a random field, which the network learns to find
(`training.data.displacement_fields`). Scenes that `training.data.scene_parts` holds out validate.
``--unregistered_root`` names pairs that do not lie on each other: they teach by consistency.
``--export DIR``, or later `training.registration.export_registration`, writes the ONNX file from
``<checkpoint_dir>/registration.safetensors``, the averaged network. ``--resume
<checkpoint_dir>/last.ckpt`` continues the training, ``--init FILE.safetensors`` starts another.
Several GPUs or machines: ``--devices``, ``--num_nodes`` and ``--strategy``, or torchrun.
"""

from __future__ import annotations

if not __package__:
    import _as_module  # noqa: F401

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
from torch.utils.data import Subset

from irvis_fusion_core.command_line import command
from irvis_fusion_core.image_files import images_by_stem
from irvis_fusion_core.network.displacement import DisplacementNetwork
from irvis_fusion_core.network.displacement_files import load_network, save_network
from training.data.dataset import parse_root
from training.data.sampling import Draw
from training.loop.averaged_run import AveragedData, check_readable, fit
from training.loop.set_up import set_up_process, steps_in_all
from training.options import add_options, require_at_least, script_parser
from training.registration.displaced_pairs import DisplacedPairs
from training.registration.export_registration import write_files
from training.registration.task import LAMBDAS, RegistrationTask

VALIDATION_CROPS = 96
WEIGHTS = "registration.safetensors"


@command
def main(arguments: list[str]) -> int:
    options = _parse(arguments)
    lightning.seed_everything(options.seed, verbose=False)
    set_up_process(options.threads)
    check_readable(options.resume, "train_registration")
    network = load_network(options.init) if options.init else DisplacementNetwork()
    network.train()
    data = RegistrationData(options)
    steps = steps_in_all(options, data.sampler().steps)
    weights = {name: getattr(options, f"lambda_{name}") for name in LAMBDAS}
    chosen = {name: getattr(options, name) for name in ("lr", "weight_decay", "ema")}
    warmup = min(options.lr_warmup_steps, steps // 10)
    task = RegistrationTask(network, weights, total_steps=steps, warmup_steps=warmup, **chosen)
    folder = Path(options.checkpoint_dir)
    about = f"{len(data.train)} pairs, {VALIDATION_CROPS} crops of held-out scenes"
    fit(task, data, options, folder / WEIGHTS, save_network, "val/error", about)
    print(f"written to {folder}: {WEIGHTS}, last.ckpt, training.jsonl, config.json")
    if options.export:
        print(f"written to {write_files(folder / WEIGHTS, Path(options.export))}")
    return 0


class RegistrationData(AveragedData):
    """Displaced training crops, and fixed crops of the held-out scenes."""

    def __init__(self, options: argparse.Namespace) -> None:
        roots, free = (
            [parse_root(text) for text in given]
            for given in (options.train_root, options.unregistered_root)
        )
        excluded: set[str] = set()
        for folder in map(Path, options.exclude):
            images = folder / "IR" if (folder / "IR").is_dir() else folder
            excluded.update(images_by_stem(str(images)))
        common: dict[str, Any] = {
            "size": options.input_size,
            "boxes": [Path(folder) for folder in options.boxes],
            "excluded": frozenset(excluded),
        }
        train = DisplacedPairs(roots, free, seed=options.seed, cache_gb=options.cache_gb, **common)
        held_out = DisplacedPairs(roots, seed=1, part="validation", **common)
        # The number of an item decides its displacement: the same crops every time.
        crops = [Draw(i % len(held_out), i) for i in range(VALIDATION_CROPS)]
        names = ("batch_size", "num_workers", "samples_per_epoch", "seed")
        given = (getattr(options, name) for name in names)
        super().__init__(train, Subset(held_out, crops), *given)  # type: ignore[arg-type]


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = script_parser(__doc__, "train_registration")
    add = parser.add_argument
    root = "registered pairs: folder with IR/ and VIS/; several are drawn by share"
    add("--train_root", required=True, action="append", metavar="DIR[=SHARE]", help=root)
    add("--unregistered_root", action="append", default=[], metavar="DIR[=SHARE]")
    objects = "folder of annotated objects, STEM.txt in YOLO's form: they move as a body"
    add("--boxes", action="append", default=[], metavar="DIR", help=objects)
    without = "leave out images of the names in this folder"
    add("--exclude", action="append", default=[], metavar="DIR", help=without)
    for name, weight in LAMBDAS.items():
        add(f"--lambda_{name}", type=float, default=weight, help=f"default: {weight}")
    add("--export", metavar="DIR", help="write the files that ship there at the end")
    add("--resume", metavar="CKPT", help="a last.ckpt")
    add("--init", metavar="FILE", help="start from these weights, step 0")
    own: dict[str, Any] = {
        "checkpoint_dir": "runs/registration",
        "log_dir": "logs/registration",
        **{"input_size": 128, "batch_size": 8, "samples_per_epoch": 1600, "lr": 2e-3},
        **{"epochs": 50, "save_freq": 1, "log_freq": 50},
    }
    same = "max_steps lr_warmup_steps weight_decay grad_clip ema use_amp num_workers seed"
    add_options(parser, f"{same} cache_gb accelerator devices num_nodes strategy threads", **own)
    options = parser.parse_args(arguments)
    require_at_least(options, 1, "batch_size epochs input_size samples_per_epoch save_freq")
    require_at_least(
        options, 0, "num_workers lr_warmup_steps " + " ".join(f"lambda_{n}" for n in LAMBDAS)
    )
    return options


if __name__ == "__main__":
    sys.exit(main())
