"""What goes wrong in training: measured on the device at a cadence, and told in plain words."""
