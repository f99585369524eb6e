"""The Lightning side: module, callbacks, validation."""
