"""How a fusion stands a misaligned infrared image."""
