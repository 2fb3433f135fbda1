"""The calibration street: drawn facades whose every attribute is known, with effects planted on purpose.

Which axis moves what is arbitrary by design (health the amount of hedge, income the hue of the doors, education the
tone of the brick), so that nobody reads it as a finding: the street is there to see whether the method finds what was
planted and nothing else.
"""
