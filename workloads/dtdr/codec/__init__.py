"""A codec for models: an orthonormal transform along each tensor's last axis, then 8-bit codes."""
