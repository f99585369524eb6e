"""Train the displacement network: a Lightning module with an averaged network."""

from __future__ import annotations

import copy
import math
from typing import Any

import lightning
import torch

from irvis_fusion_core.network.displacement import DisplacementNetwork
from training.errors import LossError
from training.registration import loss as terms

LAMBDAS = {"field": 1.0, "match": 1.0, "edges": 0.2, "confidence": 0.5, "consistency": 0.3}
"""Terms of the loss and their default weights."""


class RegistrationTask(lightning.LightningModule):
    """Train the network on `DisplacedPairs`; `average` follows with a decay of `ema` a step."""

    def __init__(
        self,
        network: DisplacementNetwork,
        weights: dict[str, float],
        lr: float,
        weight_decay: float,
        total_steps: int,
        warmup_steps: int = 200,
        ema: float = 0.998,
    ) -> None:
        super().__init__()
        self.network = network
        self.average = copy.deepcopy(network).eval().requires_grad_(False)
        self.weights, self.lr, self.weight_decay, self.ema = weights, lr, weight_decay, ema
        self.total_steps, self.warmup_steps = max(1, total_steps), warmup_steps

    def training_step(self, batch: dict[str, torch.Tensor], _: int) -> torch.Tensor:
        """Return the loss of a batch."""
        fields, logit, matches = self.network.stages(batch["ir"], batch["vis"])
        registered = batch["registered"][:, None, None, None]
        shown = ~batch["hidden"] & registered
        weight = shown + terms.HIDDEN_WEIGHT * (batch["hidden"] & registered)
        truth = batch["field"]
        found = {
            "field": terms.field_term(fields, truth, weight),
            "match": terms.match_term(matches, truth, weight),
            "edges": terms.edge_term(fields[-1], truth, weight),
        }
        kept = batch["registered"]
        if kept.any():
            found["confidence"] = terms.confidence_term(
                logit[kept], fields[-1][kept], truth[kept], shown[kept]
            )
        free = ~kept & batch["related"]
        if free.any() and self.weights["consistency"]:
            with torch.no_grad():
                # The averaged network is steadier, and keeps batch statistics out of this.
                plain, plain_logit, _ = self.average.stages(
                    batch["ir_plain"][free], batch["vis"][free]
                )
            found["consistency"] = terms.consistency_term(
                fields[-1][free],
                logit[free],
                plain[-1],
                plain_logit,
                truth[free],
                batch["hidden"][free],
            )
        loss = sum(self.weights[name] * term for name, term in found.items())
        if not torch.isfinite(loss):
            broken = [name for name, term in found.items() if not torch.isfinite(term)]
            raise LossError(
                f"the loss is {loss.item()} at step {self.global_step}, terms {broken}; go on "
                "from the last checkpoint with a lower --lr (--resume PATH)"
            )
        shown = {f"train/{name}": term.detach() for name, term in found.items()}
        shown["train/loss"] = loss.detach()
        self.log_dict(shown, on_step=False, on_epoch=True, batch_size=len(truth))
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        """Move the averaged network along."""
        # A young average follows faster, or it would remember the random start for long.
        decay = min(self.ema, (1.0 + self.global_step) / (10.0 + self.global_step))
        kept, fresh = self.average.state_dict(), self.network.state_dict()
        with torch.no_grad():
            for name in kept:
                if kept[name].is_floating_point():
                    kept[name].lerp_(fresh[name], 1.0 - decay)

    def validation_step(self, batch: dict[str, torch.Tensor], _: int) -> None:
        """Log the errors of the averaged network, in pixels of the network's input."""
        field, confidence = self.average(batch["ir"], batch["vis"])
        shown = ~batch["hidden"]
        error = terms.end_point_error(field, batch["field"])
        trusted = shown & (confidence > 0.5)
        parts = {
            "val/error": error[shown],
            "val/median": error[shown].median(),
            "val/trusted_error": error[trusted] if trusted.any() else error[shown],
            "val/trusted": trusted.float().mean(),
            "val/none": batch["field"].norm(dim=1, keepdim=True)[shown],
        }
        for name, part in parts.items():
            self.log(name, part.mean(), batch_size=len(field), sync_dist=True)

    def configure_optimizers(self) -> dict[str, Any]:
        """Return AdamW with a warm-up, then a cosine to a hundredth of the rate."""
        optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=self.lr, weight_decay=self.weight_decay
        )

        def factor(step: int) -> float:
            warm = min(1.0, (step + 1) / max(1, self.warmup_steps))
            cosine = math.cos(math.pi * min(1.0, step / self.total_steps))
            return warm * max(0.01, 0.5 * (1.0 + cosine))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        scheduler = {"scheduler": schedule, "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}
