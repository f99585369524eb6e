"""Train the displacement network."""

from __future__ import annotations

import torch

from training.loop.averaged_run import AveragedTask
from training.registration import loss as terms

LAMBDAS = {"field": 1.0, "match": 1.0, "edges": 0.2, "confidence": 0.5, "consistency": 0.3}
"""Terms of the loss and their default weights."""


class RegistrationTask(AveragedTask):
    """Train a `DisplacementNetwork` on `DisplacedPairs`."""

    def training_step(self, batch: dict[str, torch.Tensor], _: int) -> torch.Tensor:
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
        loss = self.total(found)
        shown = {f"train/{name}": term.detach() for name, term in found.items()}
        shown["train/loss"] = loss.detach()
        self.log_dict(shown, on_step=False, on_epoch=True, batch_size=len(truth))
        return loss

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
