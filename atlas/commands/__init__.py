"""The commands that need no PyTorch. Each parses, calls one library function and prints."""
