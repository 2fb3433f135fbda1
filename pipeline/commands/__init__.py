"""The commands of the pipeline. Each parses, calls one library function and prints."""
