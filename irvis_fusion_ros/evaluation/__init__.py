"""What `evaluate_bag` is made of: a walk over a bag, measured, compared and written down."""
