"""Running workers as processes, and the signals that steer them."""
