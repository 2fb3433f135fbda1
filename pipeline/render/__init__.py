"""The grid of latent walks, rendered into an archive."""
