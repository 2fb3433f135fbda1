"""Getting photographs from Google Street View or Mapillary: where to ask, what may be kept, and how to go on later."""
