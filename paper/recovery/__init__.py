"""What the paper leaves out, asked of its own numbers: a recorded study of settings."""
