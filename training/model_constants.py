"""What the model's users must know of it without importing PyTorch."""

LEVELS = [0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99]
CONTEXT = 512
PATCH = 32
HORIZON = 64
