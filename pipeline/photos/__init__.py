"""Photographs, areas and deprivation: from a folder of geotagged pictures, or a drawn street, to ``dataset.zip``."""
