"""From photographs to an atlas: dataset, StyleGAN2-ADA, inversion, boundaries, the rendered grid. Needs PyTorch."""
